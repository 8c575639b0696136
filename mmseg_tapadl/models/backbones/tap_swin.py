"""The Swin transformer with token-aware average pooling and attention that a loss can watch.

Source: Liu et al., Swin Transformer, ICCV 2021 (arXiv 2103.14030), by way of mmseg's SwinTransformer.

Legend: B pictures, C channels, H rows, W columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmengine.logging import print_log
from mmseg.models.backbones import SwinTransformer
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain
from mmseg_tapadl.checkpoints.wrapper_names import weights_of
from mmseg_tapadl.layers import AttentionGrid, checkpoint_module, to_grid
from mmseg_tapadl.models.backbones.encoder_layers import LayeredEncoder
from mmseg_tapadl.models.backbones.swin_arch import get_swin_arch
from mmseg_tapadl.models.backbones.swin_block import TAPSwinBlock
from mmseg_tapadl.models.backbones.swin_weights import encoder_part, fitted_weights, windows_of
from mmseg_tapadl.models.backbones.tap_option import num_tap_branches, put_aggregation
from mmseg_tapadl.utils.arguments import lists_valid_arguments
from mmseg_tapadl.utils.errors import InputError

PATCH_SIZE = 4


@MODELS.register_module()
@lists_valid_arguments
class TAPSwin(LayeredEncoder, SwinTransformer):
    """mmseg's SwinTransformer with TAP before each block's first norm and attention that a loss can watch.

    Parameter names are mmseg's (TAP's are added as ``dilation_predictor``), so its checkpoints load unchanged; with
    ``tap=None`` the function is the same, also at sizes that no window divides: mmseg pads the grid to whole windows
    with zeros, then shifts it; a grid smaller than a window becomes one window. Any picture size. Features lie at
    strides 4, 8, 16, 32, (B, C, ceil(H / stride), ceil(W / stride)).

    The paper applies TAP and ADL to Swin without saying how. Here TAP pools the whole grid, across windows, before
    shift and windows; the similarity of ADL is that within a window: each window of each picture is a batch entry,
    M is the number of its tokens, and a layer's value is the mean over windows and pictures. Tokens that fill a
    window up count as queries and keys like any other.

    Args:
        arch: A size by name (``SWIN_ARCHS``) or a dict with the fields of ``SwinArch``.
        tap: ``dict(num_branches=4)`` puts token-aware average pooling before each block's first norm; ``None`` leaves
            it out.
            ``type`` chooses what the paper compares it with (``tap_option.py``).
        window_size: Side of a window in place of the arch's 7, e.g. 12 for weights trained at 384 pixels.
        in_channels: Channels of a picture.
        mlp_ratio: Widening inside the feed-forward part.
        qkv_bias: Biases in the projections to queries, keys and values.
        drop_rate: Dropout of the tokens, after the attention and in the feed-forward part.
        attn_drop_rate: Dropout of the attention; the attention diversification loss needs 0.
        drop_path_rate: Probability that a residual branch of the last block is dropped, rising from 0 at the first.
        with_cp: Activation checkpointing: keeps a block's input only and computes the rest again in the backward
            pass. Less memory, more time, the same numbers.
        out_indices: Stages whose features are returned, each normed.
        frozen_stages: As in mmseg: 0 freezes the patch embedding, i also the first i stages, with their TAP; -1 none.
        norm_cfg: The layer norms.
        tap_norm_cfg: The batch norm of TAP's predictor, e.g. ``dict(type='SyncBN')``.
        act_cfg: Activation of the feed-forward part.
        pretrained: File or address of weights to start from; excludes ``init_cfg``.
        init_cfg: The same as mmengine says it: ``dict(type='Pretrained', checkpoint=FILE)``, and ``prefix`` for the
            encoder within a larger model.

    Raises:
        InputError: An unknown arch, sizes that do not fit, a window below 1, indices that are no stages.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'tiny',
        tap: Mapping[str, Any] | None = None,
        *,
        window_size: int | None = None,
        in_channels: int = 3,
        mlp_ratio: float = 4,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: Mapping[str, Any] | None = None,
        tap_norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ):
        sizes = get_swin_arch(arch, window_size)
        num_branches = num_tap_branches(tap)
        num_stages = len(sizes.depths)
        if not out_indices or not set(out_indices) <= set(range(num_stages)):
            raise InputError(f'out_indices={tuple(out_indices)}: the stages are 0 to {num_stages - 1}')
        if frozen_stages not in range(-1, num_stages + 1):
            raise InputError(f'frozen_stages={frozen_stages}: -1 for none, or 0 to {num_stages}')
        layer_norm = dict(norm_cfg or dict(type='LN'))
        activation = dict(act_cfg or dict(type='GELU'))
        # mmseg builds the frame: patch embedding, what halves the grid, norms; its blocks are not built, ours go in.
        super().__init__(
            in_channels=in_channels,
            embed_dims=sizes.embed_dims,
            patch_size=PATCH_SIZE,
            depths=(0,) * num_stages,
            num_heads=tuple(sizes.num_heads),
            strides=(PATCH_SIZE, *[2] * (num_stages - 1)),
            out_indices=tuple(out_indices),
            drop_rate=drop_rate,
            norm_cfg=layer_norm,
            frozen_stages=frozen_stages,
            init_cfg=weights_config(pretrained, init_cfg),
        )
        self.with_cp = with_cp
        self.depths = tuple(sizes.depths)
        self.feature_channels = [sizes.feature_channels[index] for index in sorted(set(out_indices))]
        batch_norm = dict(tap_norm_cfg or dict(type='BN'))
        # On the CPU also where the model is being built on another device.
        drop_paths = iter(torch.linspace(0, drop_path_rate, sum(sizes.depths), device='cpu').tolist())
        for stage, channels, depth, num_heads in zip(
            self.stages, sizes.feature_channels, sizes.depths, sizes.num_heads, strict=True
        ):
            stage.blocks.extend(
                TAPSwinBlock(
                    embed_dims=channels,
                    num_heads=num_heads,
                    feedforward_channels=int(mlp_ratio * channels),
                    window_size=sizes.window_size,
                    shift=number % 2 == 1,
                    num_branches=num_branches,
                    tap_norm_layer=lambda width: build_norm_layer(batch_norm, width)[1],
                    qkv_bias=qkv_bias,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    drop_path_rate=next(drop_paths),
                    act_cfg=activation,
                    norm_cfg=layer_norm,
                )
                for number in range(depth)
            )
        put_aggregation(self, tap)
        self.train()  # freezes before an optimizer asks for the parameters

    def train(self, mode: bool = True) -> 'TAPSwin':
        """Switches between training and evaluation; frozen stages stay in evaluation."""
        super().train(mode)
        return self

    def init_weights(self) -> None:
        """mmseg's initialisation, or the weights that ``pretrained`` or ``init_cfg`` names.

        They may lie under mmseg's names, timm's or those of the original release, in an encoder, a classifier or a
        segmenter. Position biases of another window size are resampled (bicubic). TAP keeps its own initialisation,
        nearly the identity, where the weights have none; so do the features' norms.

        Raises:
            InputError: Weights that cannot be read, or are of another form or size; then nothing is loaded.
        """
        if self.init_cfg is None:
            super().init_weights()
            return
        source = self.init_cfg['checkpoint']
        checkpoint = load_plain(source)
        self.load_state_dict(self.own_weights(checkpoint, source), strict=False)
        windows, own_windows = windows_of(weights_of(checkpoint)), windows_of(self.state_dict())
        if windows != own_windows:
            print_log(
                f'{source}: position biases of windows {sorted(windows)} resampled to {sorted(own_windows)}',
                logger='current',
            )

    def own_weights(self, checkpoint: Mapping[str, Any], source: str) -> dict[str, Tensor]:
        """What of a checkpoint this encoder loads, under its own names; position biases are fitted to its windows.

        Args:
            checkpoint: What the file holds: bare weights, or within ``state_dict`` or ``model``, under mmseg's names,
                timm's or the original release's, of an encoder, a classifier or a segmenter, behind any wrapper.
            source: Names it in errors.

        Raises:
            InputError: Weights of another form or size: with the keys and what was expected.
        """
        weights = encoder_part(weights_of(checkpoint), (self.init_cfg or {}).get('prefix'))
        try:
            return fitted_weights(weights, self.state_dict())
        except InputError as error:
            raise InputError(f'{source}: {error}') from None

    @property
    def num_layers(self) -> int:
        """Number of blocks, over all stages."""
        return sum(self.depths)

    def block_of(self, name: str) -> int:
        """The block of a parameter, counted over all stages; 0 is the patch embedding.

        What halves the grid behind a stage belongs to the stage's last block. The features' norms are behind the blocks.
        """
        parts = name.split('.')
        if parts[0] == 'patch_embed':
            return 0
        if parts[0] != 'stages':
            return self.num_layers + 1
        stage = int(parts[1])
        if parts[2] == 'blocks':
            return sum(self.depths[:stage]) + int(parts[3]) + 1
        return sum(self.depths[: stage + 1])

    def attention_grid(self, name: str) -> AttentionGrid:
        """Where the tokens of the attention within the module ``name`` lie."""
        _, stage, _, block, *_ = name.split('.')
        windows: Any = self.stages[int(stage)].blocks[int(block)].attn
        return AttentionGrid(
            stride=PATCH_SIZE * 2 ** int(stage), window_size=windows.window_size, shift=windows.shift_size
        )

    def has_no_decay(self, name: str) -> bool:
        """Whether a parameter is a table of position biases, which has no weight decay."""
        return name.endswith('relative_position_bias_table')

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps pictures (B, in_channels, H, W) to the chosen stages' features, at strides 4, 8, 16, 32."""
        x, grid = self.patch_embed(x)
        x = self.drop_after_pos(x)
        features = []
        for index, stage in enumerate(self.stages):
            for block in stage.blocks:
                x = self.run_block(block, x, grid)
            if index in self.out_indices:
                norm = self.get_submodule(f'norm{index}')
                features.append(to_grid(norm(x), grid))
            if stage.downsample is not None:
                x, grid = stage.downsample(x, grid)
        return features

    def run_block(self, block: nn.Module, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """One block on tokens (B, N, C), checkpointed in training where ``with_cp`` asks for it."""
        if self.with_cp and self.training:
            return checkpoint_module(block, x, grid)
        return block(x, grid)


def weights_config(pretrained: str | None, init_cfg: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Both ways to name a file of weights, as mmengine's config.

    Raises:
        InputError: Both at once, or a config that names no file.
    """
    if pretrained is None:
        if init_cfg is None:
            return None
        if init_cfg.get('type') != 'Pretrained' or not init_cfg.get('checkpoint'):
            raise InputError(
                f"init_cfg={dict(init_cfg)}: only dict(type='Pretrained', checkpoint=FILE) is known here"
            )
        return dict(init_cfg)
    if init_cfg is not None:
        raise InputError('pretrained and init_cfg: give the weights one way; leave one out')
    return dict(type='Pretrained', checkpoint=pretrained)
