"""The decode head of the released model: one linear layer a level, a fusion convolution, a classifier."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_tapadl.layers import fuse_levels
from mmseg_tapadl.models.heads.fused_classifier import check_fusing_head, classify_fused
from mmseg_tapadl.utils.arguments import lists_valid_arguments
from mmseg_tapadl.utils.errors import InputError


class LevelProjection(nn.Module):
    """Holds the linear layer of one level under its released name ``proj``."""

    def __init__(self, in_channels: int, embed_dim: int):
        super().__init__()
        self.proj = nn.Linear(in_channels, embed_dim)


@MODELS.register_module()
@lists_valid_arguments
class FANHead(BaseDecodeHead):
    """The released decode head, computed without its 4 x ``channels`` wide intermediate.

    The function is: each level through its linear layer to ``channels``, upsampled (bilinear) to the size of
    the first, concatenated in the order level 4, 3, 2, 1; a 1x1 convolution (with a bias where there is no norm),
    norm, activation; Dropout2d and the classifier. All before the norm is linear and commutes with the upsampling,
    so ``fuse_levels`` applies each level's part of the convolution at the level's own resolution.

    Args:
        in_channels: Channels of the four features.
        channels: Width of the fused feature.
        in_index: Which features of the encoder the levels 1 to 4 are.
        input_transform: mmseg's keyword; this head reads several levels.
        **kwargs: The arguments of mmseg's ``BaseDecodeHead`` (``num_classes``, ``norm_cfg``, ``act_cfg``,
            ``align_corners``, ``loss_decode``).

    Raises:
        InputError: Not four levels, another ``input_transform``, or a ``conv_cfg`` that is no plain convolution.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 768,
        *,
        in_index: Sequence[int] = (0, 1, 2, 3),
        input_transform: str = 'multiple_select',
        **kwargs: Any,
    ):
        check_fusing_head(input_transform, kwargs.get('conv_cfg'))
        super().__init__(
            list(in_channels), channels, in_index=list(in_index), input_transform=input_transform, **kwargs
        )
        if len(self.in_channels) != 4:
            raise InputError(f'in_channels={list(in_channels)}: this head fuses four levels')
        self.linear_c1, self.linear_c2, self.linear_c3, self.linear_c4 = (
            LevelProjection(width, channels) for width in self.in_channels
        )
        self.linear_fuse = ConvModule(
            4 * channels, channels, kernel_size=1, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps the encoder's features to logits (B, num_classes, H, W) at the size of the first."""
        levels = self._transform_inputs(inputs)
        projections = [self.linear_c1.proj, self.linear_c2.proj, self.linear_c3.proj, self.linear_c4.proj]
        fused = fuse_levels(
            levels,
            [(p.weight, p.bias) for p in projections],
            self.linear_fuse.conv.weight,
            align_corners=bool(self.align_corners),
        )
        return classify_fused(self, self.linear_fuse, fused)
