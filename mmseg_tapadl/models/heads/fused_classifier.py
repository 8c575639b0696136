"""How both decode heads end: norm, activation, dropout and classifier of the fused feature."""

from collections.abc import Mapping
from typing import Any

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmseg_tapadl.layers import can_classify_normed, normed_classifier
from mmseg_tapadl.utils.errors import InputError


def check_fusing_head(input_transform: str, conv_cfg: Mapping[str, Any] | None) -> None:
    """Refuses what a head that fuses levels by a 1x1 convolution cannot follow.

    Raises:
        InputError: ``input_transform`` is not ``'multiple_select'``, or ``conv_cfg`` asks for another convolution.
    """
    if input_transform != 'multiple_select':
        raise InputError(
            f"input_transform={input_transform!r}: this head reads several levels ('multiple_select'); leave it out"
        )
    if conv_cfg is not None and conv_cfg.get('type') not in ('Conv2d', 'Conv'):
        raise InputError(
            f'conv_cfg={dict(conv_cfg)}: this head has plain 1x1 convolutions only; leave it out'
        )


def classify_fused(head: BaseDecodeHead, fusion: ConvModule, fused: Tensor) -> Tensor:
    """Logits (B, num_classes, H, W) of ``fused`` (B, C, H, W), what the weight of ``fusion``'s convolution made.

    Bias, norm and activation are those that ``fusion`` has. The same as the modules one after the other, without
    keeping what lies between wherever that can be computed again.
    """
    if fusion.conv.bias is not None:
        fused = fused + fusion.conv.bias[:, None, None]
    norm = fusion.norm if fusion.with_norm else nn.Identity()
    activation = fusion.activate if fusion.with_activation else nn.Identity()
    if not can_classify_normed(norm, activation):
        return head.cls_seg(activation(norm(fused)))
    mask = None
    if head.dropout is not None and head.training:
        # Dropout2d drops whole channels: of ones it makes their factors, from the same random numbers.
        mask = head.dropout(fused.new_ones(*fused.shape[:2], 1, 1))
    return normed_classifier(fused, norm, mask, head.conv_seg.weight, head.conv_seg.bias)
