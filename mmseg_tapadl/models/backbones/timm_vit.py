"""Any plain vision transformer of timm, by its name, as an encoder with TAP and attention that a loss can watch.

Source: timm (https://github.com/huggingface/pytorch-image-models), ``VisionTransformer`` and ``Eva``.

Legend: B pictures, C channels, H x W pixels, p side of a patch, N tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from timm.models import Eva
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain
from mmseg_tapadl.checkpoints.wrapper_names import weights_of
from mmseg_tapadl.layers import AttentionGrid, checkpoint_module, to_grid
from mmseg_tapadl.layers.freezing import ALL_BUT_TAP, ENCODER, freeze
from mmseg_tapadl.layers.local_aggregation import local_aggregation
from mmseg_tapadl.layers.timm_attention import make_watchable
from mmseg_tapadl.layers.timm_block import add_pooling, place_pooling
from mmseg_tapadl.layers.timm_rope import keep_sizes_as_symbols
from mmseg_tapadl.models.backbones.encoder_layers import LayeredEncoder
from mmseg_tapadl.models.backbones.tap_option import read_tap
from mmseg_tapadl.models.backbones.timm_model import (
    check_parts,
    check_rate,
    check_same_function,
    chosen_blocks,
    create_vit,
    probe_picture,
    tell_missing_norm,
)
from mmseg_tapadl.models.backbones.timm_names import check_timm_name, normalisation_of, tag_in, tags_of
from mmseg_tapadl.models.backbones.timm_weights import fetch_weights, fitted_weights
from mmseg_tapadl.utils.arguments import lists_valid_arguments
from mmseg_tapadl.utils.errors import InputError

DEFAULT_MODEL = 'vit_small_patch14_reg4_dinov2'


@MODELS.register_module()
@lists_valid_arguments
class TimmViT(LayeredEncoder, BaseModule):
    """DeiT, ViT, DINOv2, DINOv3, EVA-02, SigLIP 2, C-RADIO, Perception Encoder, TIPSv2 and other ViTs of timm.

    The encoder holds timm's own model as ``model``, with timm's keys. Any picture size: pictures are padded with zeros
    at the right and the bottom to whole patches, and positions are resampled as timm does. Every feature has the
    patches' grid, (B, C, ceil(H/p), ceil(W/p)); prefix tokens (class token, registers) reach no feature and are not
    pooled. What no feature passes (later blocks, final norm, pooling, classifier) is not kept.

    ``forward`` takes pictures normalised as the weights expect: ``data_preprocessor=dict(mean='encoder',
    std='encoder')`` of :class:`AttentionEncoderDecoder` asks the encoder for the numbers.

    Args:
        model: Name of the model in timm, with or without the tag of its weights.
        pretrained: Where training starts from, read by ``init_weights`` and never in testing or resuming: ``True``
            fetches timm's default weights, a tag other ones, a file (``.safetensors``, ``.pth`` in timm's keys) is
            read as data. ``None`` starts from random weights.
        tap: ``dict(num_branches=4)`` puts token-aware average pooling before each block's first norm, on patches only;
            ``None`` leaves it out.
            ``type`` chooses what the paper compares it with (``tap_option.py``).
        frozen: Train the pooling only; the rest gets no gradient and stays in evaluation mode.
        out_indices: Blocks whose output is a feature, ascending from 0; ``None`` takes four, evenly spaced, ending
            with the last.
        final_norm: Norm the features with the norm behind the model's last block. Some models (EVA-02, C-RADIO,
            Perception Encoder) have none there; then the features stay as they are, and a line says so.
        attn_drop_rate: Dropout of the attention; the attention diversification loss needs 0.
        drop_path_rate: Probability that a residual branch of the last block is dropped, rising from 0 at the first.
        with_cp: Activation checkpointing: keeps a block's input only and computes the rest again in the backward pass.
        norm_cfg: The batch norm of TAP's predictor, e.g. ``dict(type='SyncBN')``.
        init_cfg: mmengine's way to say ``pretrained``: ``dict(type='Pretrained', checkpoint=FILE)``.

    Raises:
        InputError: An unknown name (with near misses), a model without plain attention, post-norm or parallel blocks,
            indices that are no blocks, rates that are none, an attention that would not be timm's own function.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        pretrained: bool | str | None = None,
        tap: Mapping[str, Any] | None = None,
        *,
        frozen: bool = False,
        out_indices: Sequence[int] | None = None,
        final_norm: bool = False,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        kind, size = read_tap(tap)
        self.name = check_timm_name(model)
        for name, rate in (('attn_drop_rate', attn_drop_rate), ('drop_path_rate', drop_path_rate)):
            check_rate(name, rate)
        self.pretrained = pretrained_source(pretrained, init_cfg)
        self.frozen = frozen
        self.with_cp = with_cp
        self.final_norm = final_norm
        vit = create_vit(
            self.name, dynamic_img_size=True, attn_drop_rate=attn_drop_rate, drop_path_rate=drop_path_rate
        )
        self.depth = len(vit.blocks)  # before the later ones are left out
        self.out_indices = chosen_blocks(out_indices, self.depth, model)
        self.patch_size: int = vit.patch_embed.feat_ratio()
        self.embed_dim: int = vit.embed_dim
        self.num_prefix: int = vit.num_prefix_tokens
        self.feature_channels = [self.embed_dim] * len(self.out_indices)

        check_parts(vit, model)
        if final_norm:
            tell_missing_norm(vit, model)
        vit.eval()
        picture = probe_picture(vit, self.patch_size)
        with torch.no_grad():
            expected = vit.forward_intermediates(
                picture, indices=list(self.out_indices), norm=final_norm, intermediates_only=True
            )
        for block in vit.blocks:
            make_watchable(block.attn, num_prefix=self.num_prefix)
        keep_sizes_as_symbols(getattr(vit, 'rope', None))
        vit.prune_intermediate_layers(list(self.out_indices), prune_norm=not final_norm, prune_head=True)
        self.model = vit
        self.eval()
        with torch.no_grad():
            check_same_function(model, self(picture), expected)

        batch_norm = dict(norm_cfg or dict(type='BN'))
        for block in vit.blocks:
            if kind == 'tap':
                add_pooling(block, self.embed_dim, size, lambda width: build_norm_layer(batch_norm, width)[1])
            elif kind is not None:
                place_pooling(block, local_aggregation(kind, self.embed_dim, kernel_size=size))
        pooling = [p for block in vit.blocks if kind for p in block.dilation_predictor.parameters()]
        self.train()
        if frozen:
            freeze(self, ALL_BUT_TAP if any(p.requires_grad for p in pooling) else ENCODER)

    @staticmethod
    def normalisation(config: Mapping[str, Any]) -> dict[str, list[float]]:
        """Mean and standard deviation, of RGB from 0 to 255, that the weights named in an encoder's config expect."""
        model = check_timm_name(config.get('model', DEFAULT_MODEL))
        tag = tag_in(model, config.get('pretrained'))
        mean, std = normalisation_of(f'{model.partition(".")[0]}.{tag}' if tag else model)
        return {'mean': mean, 'std': std}

    def init_weights(self) -> None:
        """Starts from ``pretrained``; without it the weights are timm's random ones.

        Raises:
            InputError: Weights that cannot be fetched or read, or that are those of another model.
        """
        if self.pretrained is None:
            return
        source = f'pretrained={self.pretrained!r}'
        tag = tag_in(self.name, self.pretrained)
        if self.pretrained is True or tag:
            checkpoint = fetch_weights(self.name, tag)
        else:
            try:
                checkpoint = load_plain(str(self.pretrained))
            except CheckpointError as error:
                known = ', '.join(tags_of(self.name)) or 'none'
                raise InputError(f"{source}: {error} (nor is it one of timm's tags: {known})") from None
        self.load_state_dict(self.own_weights(checkpoint, source), strict=False)

    def own_weights(self, checkpoint: Mapping[str, Any], source: str) -> dict[str, Tensor]:
        """What of a checkpoint this encoder loads, under its own names; positions are resampled to its grid.

        Args:
            checkpoint: What the file holds: bare weights, or within ``state_dict`` or ``model``, in timm's keys or
                those of a segmenter, behind any wrapper.
            source: Names it in errors.

        Raises:
            InputError: Weights of another model.
        """
        fitted = fitted_weights(self.model, weights_of(checkpoint), depth=self.depth, source=source)
        return {f'model.{key}': value for key, value in fitted.items()}

    @property
    def num_layers(self) -> int:
        """Number of blocks kept."""
        return len(self.model.blocks)

    def block_of(self, name: str) -> int:
        """The block of a parameter: 0 the embedding, then the blocks, then the final norm."""
        parts = name.split('.')
        if parts[1] == 'norm':
            return self.num_layers + 1
        return int(parts[2]) + 1 if parts[1] == 'blocks' else 0

    def attention_grid(self, name: str) -> AttentionGrid:
        """Where the tokens of the attention within the module ``name`` lie."""
        return AttentionGrid(stride=self.patch_size)

    def has_no_decay(self, name: str) -> bool:
        """Whether a parameter is a position or a token, which have no weight decay."""
        return name.rpartition('.')[2] in {
            *self.model.no_weight_decay(),
            'reg_token',
            'cls_token',
            'pos_embed',
        }

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps normalised pictures (B, 3, H, W) to the chosen features, each (B, C, ceil(H/p), ceil(W/p))."""
        side = self.patch_size
        x = F.pad(x, (0, -x.shape[3] % side, 0, -x.shape[2] % side))
        grid = (x.shape[2] // side, x.shape[3] // side)
        x, rope = self.embed(x)
        features = []
        for index, block in enumerate(self.model.blocks):
            x = self.run_block(block, x, grid, rope[index] if self.rope_by_block else rope)
            if index in self.out_indices:
                tokens = self.model.norm(x) if self.final_norm else x
                features.append(to_grid(tokens[:, self.num_prefix :], grid))
        return tuple(features)

    @property
    def rope_by_block(self) -> bool:
        """Whether each block has rotary positions of its own."""
        return bool(getattr(self.model, 'rope_mixed', False))

    def embed(self, x: Tensor) -> tuple[Tensor, Any]:
        """Patches with their positions, (B, N, C) with the prefix first, and what rotates queries and keys."""
        x = self.model.patch_embed(x)
        if isinstance(self.model, Eva):
            x, rope = self.model._pos_embed(x)
        else:
            x, rope = self.model.patch_drop(self.model._pos_embed(x)), None
        return self.model.norm_pre(x), rope

    def run_block(self, block: nn.Module, x: Tensor, grid: tuple[int, int], rope: Any) -> Tensor:
        """One block on tokens (B, N, C), checkpointed in training where ``with_cp`` asks for it."""
        inputs: list[Any] = (
            [grid] if isinstance(getattr(block, 'dilation_predictor', None), nn.Module) else []
        )
        if isinstance(self.model, Eva):
            inputs.append(rope)
        if self.with_cp and self.training:
            return checkpoint_module(block, x, *inputs)
        return block(x, *inputs)


def pretrained_source(pretrained: bool | str | None, init_cfg: Mapping[str, Any] | None) -> bool | str | None:
    """The source of the weights; ``init_cfg``, which ``--pretrained`` sets, wins."""
    if init_cfg is None:
        return pretrained or None
    if (
        not isinstance(init_cfg, Mapping)
        or init_cfg.get('type') != 'Pretrained'
        or 'checkpoint' not in init_cfg
    ):
        raise InputError(f"init_cfg={init_cfg}: only dict(type='Pretrained', checkpoint=FILE) is known here")
    return init_cfg['checkpoint']
