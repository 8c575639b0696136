"""FAN, the fully attentional network, with or without token-aware average pooling.

Source: Zhou et al., Understanding the Robustness in Vision Transformers, ICML 2022 (arXiv 2204.12451), and Guo
et al., Robustifying Token Attention for Vision Transformers, ICCV 2023 (arXiv 2303.11126).

Legend: B images, C channels, H rows, W columns, N tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_tapadl.layers import (
    AttentionGrid,
    ClosingBlock,
    ConvEmbed,
    FANBlock,
    HybridEmbed,
    SinePositionCode,
    checkpoint_module,
    to_grid,
    to_tokens,
)
from mmseg_tapadl.models.backbones.encoder_layers import LayeredEncoder
from mmseg_tapadl.models.backbones.fan_arch import get_fan_arch
from mmseg_tapadl.models.backbones.tap_option import num_tap_branches, put_aggregation
from mmseg_tapadl.utils.arguments import lists_valid_arguments
from mmseg_tapadl.utils.errors import InputError

TOKEN_STRIDE = 16
STEM_STRIDE = 4
CLOSING_BLOCKS = 2


@MODELS.register_module()
@lists_valid_arguments
class FAN(LayeredEncoder, BaseModule):
    """FAN encoder for segmentation.

    Any image size: where H or W is not divisible by 16, zeros are added at the right and the bottom, and a
    feature at stride s is cut to ceil(H/s) by ceil(W/s).

    Its four features are, in the hybrid family, the two ConvNeXt stages (strides 4 and 8), the tokens of one
    block and the tokens after the closing (stride 16); in the plain family the tokens of three blocks and those
    after the closing (all at stride 16). What no chosen feature needs is not built.

    Args:
        arch: A size by name (``FAN_ARCHS``) or a dict with the fields of ``FANArch``.
        tap: ``dict(num_branches=4)`` puts token-aware average pooling before each self-attention; ``None``
            leaves it out.
            ``type`` chooses what the paper compares it with (``tap_option.py``).
        attn_drop_rate: Dropout of the attention; the attention diversification loss needs 0.
        drop_path_rate: Probability that a residual branch of a token block is dropped; the same in all blocks.
        with_cp: Activation checkpointing: keeps the input of each block only and computes the rest again in the
            backward pass. Less memory, more time, the same numbers.
        out_indices: Which of the four features to return, ascending.
        norm_cfg: The batch norms, e.g. ``dict(type='SyncBN')``. Layer norms are not affected.
        init_cfg: mmengine's way to load weights, e.g. ``dict(type='Pretrained', checkpoint=FILE)``.

    Raises:
        InputError: An unknown arch, or an out index other than 0 to 3 ascending.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'base_hybrid',
        tap: Mapping[str, Any] | None = None,
        *,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | list | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        sizes = get_fan_arch(arch)
        levels = range(len(sizes.feature_channels))
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(levels)):
            valid = ', '.join(map(str, levels))
            raise InputError(f'out_indices={tuple(out_indices)}: choose from {valid}, ascending')
        self.out_indices = tuple(out_indices)
        self.with_cp = with_cp
        num_branches = num_tap_branches(tap)
        norm_config = dict(norm_cfg or dict(type='BN'))

        def norm_layer(channels: int) -> nn.Module:
            return build_norm_layer(norm_config, channels)[1]

        self.embed_dim = sizes.embed_dim
        self.feature_channels = [sizes.feature_channels[index] for index in sorted(set(out_indices))]
        self.token_indices = tuple(sizes.token_indices)
        # Whatever comes after the last chosen feature would be parameters without a gradient.
        last = self.out_indices[-1]
        depth = sizes.blocks_needed[last]
        if sizes.stem_depths:
            self.patch_embed: nn.Module = HybridEmbed(
                embed_dim=sizes.embed_dim,
                depths=sizes.stem_depths[: last + 1],
                to_tokens=depth > 0,
                with_cp=with_cp,
            )
        else:
            self.patch_embed = ConvEmbed(embed_dim=sizes.embed_dim, norm_layer=norm_layer)
        self.pos_embed = SinePositionCode(sizes.embed_dim) if depth > 0 else None
        self.blocks = nn.ModuleList(
            FANBlock(
                sizes.embed_dim,
                num_heads=sizes.num_heads,
                num_branches=num_branches,
                attn_drop_rate=attn_drop_rate,
                drop_path=drop_path_rate,
                norm_layer=norm_layer,
            )
            for _ in range(depth)
        )
        put_aggregation(self.blocks, tap)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.cls_attn_blocks = nn.ModuleList(
            ClosingBlock(sizes.embed_dim) for _ in range(CLOSING_BLOCKS if last == levels[-1] else 0)
        )

    def attention_grid(self, name: str) -> AttentionGrid:
        """Where the tokens of the attention within the module ``name`` lie."""
        return AttentionGrid(stride=TOKEN_STRIDE)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps pictures (B, 3, H, W) to the chosen features, each (B, C, ceil(H/s), ceil(W/s))."""
        height, width = x.shape[2:]
        # Counted upwards: the whole numbers of an exported graph do not round as negative ones do in Python.
        rows, columns = (steps_of(side, TOKEN_STRIDE) * TOKEN_STRIDE for side in (height, width))
        x = F.pad(x, (0, columns - width, 0, rows - height))
        features, x = self.patch_embed(x)
        strides = [STEM_STRIDE * 2**i for i in range(len(features))]
        if self.pos_embed is not None:
            grid = (x.shape[2], x.shape[3])
            x = to_tokens(x + self.pos_embed(*grid))
            features = [
                *features,
                *(to_grid(t, grid) for t in self.token_features(x, grid)),
            ]
        strides += [TOKEN_STRIDE] * (len(features) - len(strides))
        return tuple(
            features[i][:, :, : steps_of(height, strides[i]), : steps_of(width, strides[i])]
            for i in self.out_indices
        )

    @property
    def num_layers(self) -> int:
        """Number of token blocks, the closing blocks included."""
        return len(self.blocks) + len(self.cls_attn_blocks)

    def block_of(self, name: str) -> int:
        """The block of a parameter: 0 the stem and the position code, then the token blocks, then the closing blocks."""
        part, *rest = name.split('.')
        if part == 'blocks':
            return int(rest[0]) + 1
        return len(self.blocks) + int(rest[0]) + 1 if part == 'cls_attn_blocks' else 0

    def has_no_decay(self, name: str) -> bool:
        """Whether a parameter is a temperature or a scale, which have no weight decay."""
        return 'temperature' in name or 'gamma' in name

    def token_features(self, x: Tensor, grid: tuple[int, int]) -> list[Tensor]:
        """Runs the token blocks and the closing on tokens (B, N, C); returns the features among them."""
        features = []
        for index, block in enumerate(self.blocks):
            if self.with_cp and self.training:
                x = checkpoint_module(block, x, grid)
            else:
                x = block(x, grid)
            if index in self.token_indices:
                features.append(x)
        for closing in self.cls_attn_blocks:
            x = closing(x)
        return [*features, x] if self.cls_attn_blocks else features


def steps_of(length: int, stride: int) -> int:
    """How many steps of ``stride`` cover a length: length / stride, rounded up."""
    return (length + stride - 1) // stride
