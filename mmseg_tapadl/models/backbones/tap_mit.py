"""SegFormer's encoder with token-aware average pooling and attention that a loss can watch.

Source: Xie et al., SegFormer, NeurIPS 2021 (arXiv 2105.15203), by way of mmseg's MixVisionTransformer.

Legend: B images, C channels, H rows, W columns.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmseg.models.backbones import MixVisionTransformer
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_tapadl.layers import AttentionGrid, TokenAwareAvgPool, checkpoint_module, to_grid
from mmseg_tapadl.layers.local_aggregation import LocalConv
from mmseg_tapadl.models.backbones.encoder_layers import LayeredEncoder
from mmseg_tapadl.models.backbones.mit_arch import choose_mit_arch
from mmseg_tapadl.models.backbones.mit_block import MiTBlock
from mmseg_tapadl.models.backbones.tap_option import num_tap_branches, put_aggregation
from mmseg_tapadl.utils.arguments import lists_valid_arguments
from mmseg_tapadl.utils.errors import InputError


@MODELS.register_module()
@lists_valid_arguments
class TAPMixVisionTransformer(LayeredEncoder, MixVisionTransformer):
    """mmseg's MixVisionTransformer with TAP before each self-attention, by fused attention.

    Parameter names are mmseg's (TAP's are added as ``dilation_predictor``), so its SegFormer checkpoints load
    unchanged; with ``tap=None`` the function is the same. Any picture size.

    A config of mmseg keeps its keywords: sizes are given by ``arch`` or, as there, one by one.

    Args:
        arch: A size by name (``MIT_ARCHS``) or a dict with the fields of ``MiTArch``; ``None`` is ``'b0'``, unless
            one of mmseg's sizes is given.
        tap: ``dict(num_branches=4)`` puts token-aware average pooling before each self-attention; ``None``
            leaves it out.
            ``type`` chooses what the paper compares it with (``tap_option.py``).
        embed_dims, num_stages, num_layers, num_heads, patch_sizes, strides, sr_ratios: mmseg's own way to give the
            sizes, in place of ``arch``; once one is given, mmseg's defaults stand for the others.
        in_channels: Channels of a picture.
        mlp_ratio: Widening inside the MixFFN.
        qkv_bias: Biases in the attention.
        drop_rate: Dropout after the attention and in the MixFFN.
        attn_drop_rate: Dropout of the attention; the attention diversification loss needs 0.
        drop_path_rate: Probability that a residual branch of the last block is dropped; it rises linearly from 0
            at the first block.
        with_cp: Activation checkpointing: keeps a block's input only and computes the rest again in the backward
            pass. Less memory, more time, the same numbers.
        out_indices: Stages whose features are returned.
        norm_cfg: The layer norms, as in mmseg's MiT.
        tap_norm_cfg: The batch norm of TAP's predictor, e.g. ``dict(type='SyncBN')``.
        act_cfg: Activation of the MixFFN.
        pretrained: mmseg's older way to name the file of the weights; excludes ``init_cfg``.
        init_cfg: mmengine's way to load weights, e.g. ``dict(type='Pretrained', checkpoint=FILE)``.

    Raises:
        InputError: An unknown arch, sizes given both ways or of different lengths, or an out index that is no stage.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] | None = None,
        tap: Mapping[str, Any] | None = None,
        *,
        in_channels: int = 3,
        embed_dims: int | None = None,
        num_stages: int | None = None,
        num_layers: Sequence[int] | None = None,
        num_heads: Sequence[int] | None = None,
        patch_sizes: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        sr_ratios: Sequence[int] | None = None,
        mlp_ratio: int = 4,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        norm_cfg: Mapping[str, Any] | None = None,
        tap_norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | list | None = None,
    ):
        sizes = choose_mit_arch(
            arch,
            num_stages,
            dict(
                embed_dims=embed_dims,
                num_layers=num_layers,
                num_heads=num_heads,
                patch_sizes=patch_sizes,
                strides=strides,
                sr_ratios=sr_ratios,
            ),
        )
        num_stages = len(sizes.num_layers)
        if not out_indices or not set(out_indices) <= set(range(num_stages)):
            raise InputError(f'out_indices={tuple(out_indices)}: the stages are 0 to {num_stages - 1}')
        layer_norm = dict(norm_cfg or dict(type='LN', eps=1e-6))
        activation = dict(act_cfg or dict(type='GELU'))
        # mmseg builds the frame of each stage, patch embedding and norm; its blocks are not built, ours go in.
        super().__init__(
            in_channels=in_channels,
            embed_dims=sizes.embed_dims,
            num_stages=num_stages,
            num_layers=[0] * num_stages,
            num_heads=list(sizes.num_heads),
            patch_sizes=list(sizes.patch_sizes),
            strides=list(sizes.strides),
            sr_ratios=list(sizes.sr_ratios),
            out_indices=tuple(out_indices),
            norm_cfg=layer_norm,
            pretrained=pretrained,
            init_cfg=init_cfg,
            with_cp=with_cp,
        )
        self.num_layers = list(sizes.num_layers)
        self.feature_channels = [sizes.feature_channels[index] for index in sorted(set(out_indices))]
        num_branches = num_tap_branches(tap)
        batch_norm = dict(tap_norm_cfg or dict(type='BN'))
        # On the CPU also where the model is being built on another device.
        drop_paths = iter(torch.linspace(0, drop_path_rate, sum(sizes.num_layers), device='cpu').tolist())
        for stage, channels in enumerate(sizes.feature_channels):
            self.layers[stage][1].extend(
                MiTBlock(
                    embed_dims=channels,
                    num_heads=sizes.num_heads[stage],
                    feedforward_channels=mlp_ratio * channels,
                    num_branches=num_branches,
                    tap_norm_layer=lambda width: build_norm_layer(batch_norm, width)[1],
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    drop_path_rate=next(drop_paths),
                    qkv_bias=qkv_bias,
                    act_cfg=activation,
                    norm_cfg=layer_norm,
                    sr_ratio=sizes.sr_ratios[stage],
                )
                for _ in range(sizes.num_layers[stage])
            )
        put_aggregation(self, tap)

    def init_weights(self) -> None:
        """mmseg's initialisation, or what ``init_cfg`` says; TAP keeps its own (nearly the identity)."""
        super().init_weights()
        if self.init_cfg is None:
            for module in self.modules():
                if isinstance(module, (TokenAwareAvgPool, LocalConv)):
                    module.reset_parameters()

    def attention_grid(self, name: str) -> AttentionGrid:
        """Where the tokens of the attention within the module ``name`` lie."""
        stage = int(name.split('.')[1])
        return AttentionGrid(stride=math.prod(self.strides[: stage + 1]), key_ratio=self.sr_ratios[stage])

    @property
    def num_blocks(self) -> int:
        """Number of blocks, over all stages; ``num_layers`` has them by stage, as in mmseg."""
        return sum(self.num_layers)

    def block_of(self, name: str) -> int:
        """The block of a parameter, counted over all stages; 0 is the first patch embedding.

        What halves the grid before a stage belongs to the stage's first block, the norm behind a stage to its last.
        """
        _, stage, part, *rest = name.split('.')
        before = sum(self.num_layers[: int(stage)])
        if part == '0':
            return before + 1 if before else 0
        return before + (int(rest[0]) + 1 if part == '1' else self.num_layers[int(stage)])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps pictures (B, in_channels, H, W) to the chosen stages' features, at strides 4, 8, 16, 32."""
        features = []
        for stage, (embed, blocks, norm) in enumerate(self.layers):
            x, grid = embed(x)
            for block in blocks:
                x = self.run_block(block, x, grid)
            x = to_grid(norm(x), grid)
            if stage in self.out_indices:
                features.append(x)
        return features

    def run_block(self, block: nn.Module, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """One block on tokens (B, N, C), checkpointed in training where ``with_cp`` asks for it."""
        if self.with_cp and self.training:
            return checkpoint_module(block, x, grid)
        return block(x, grid)
