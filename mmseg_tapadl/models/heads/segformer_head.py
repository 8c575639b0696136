"""SegFormer's decode head, fused at each level's own resolution."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads import SegformerHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from mmseg_tapadl.models.heads.fused_classifier import check_fusing_head, classify_fused
from mmseg_tapadl.utils.arguments import lists_valid_arguments


@MODELS.register_module()
@lists_valid_arguments
class FastSegformerHead(SegformerHead):
    """mmseg's ``SegformerHead``, the same parameters and function, at a part of its cost.

    mmseg upsamples every level, concatenates all and applies the fusion convolution to the result. A 1x1
    convolution is a sum over its input channels and commutes with the upsampling, so here each level meets its
    slice of the fusion weights before it is upsampled and added. The norm and ReLU of each level come before.

    Args:
        in_channels: Channels of the features.
        channels: Width of each projected level and of the fused feature.
        in_index: Which features of the encoder to use.
        interpolate_mode: How levels are upsampled; any mode of ``interpolate`` for pictures is linear and commutes.
        input_transform: mmseg's keyword; this head reads several levels.
        **kwargs: The arguments of mmseg's ``BaseDecodeHead`` (``num_classes``, ``norm_cfg``, ``act_cfg``,
            ``align_corners``, ``loss_decode``).

    Raises:
        InputError: Another ``input_transform``, or a ``conv_cfg`` that is no plain convolution.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        in_index: Sequence[int] = (0, 1, 2, 3),
        interpolate_mode: str = 'bilinear',
        input_transform: str = 'multiple_select',
        **kwargs: Any,
    ):
        check_fusing_head(input_transform, kwargs.get('conv_cfg'))
        super().__init__(
            interpolate_mode=interpolate_mode,
            in_channels=list(in_channels),
            channels=channels,
            in_index=list(in_index),
            **kwargs,
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps the encoder's features to logits (B, num_classes, H, W) at the size of the first."""
        levels = self._transform_inputs(inputs)
        size = levels[0].shape[2:]
        slices = self.fusion_conv.conv.weight.split(self.channels, dim=1)
        fused = None
        for level, conv, weight in zip(levels, self.convs, slices, strict=True):
            part = F.conv2d(conv(level), weight)
            if part.shape[2:] != size:
                part = resize(part, size=size, mode=self.interpolate_mode, align_corners=self.align_corners)
            fused = part if fused is None else fused.add_(part)
        return classify_fused(self, self.fusion_conv, fused)
