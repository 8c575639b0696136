"""How both decode heads end: norm, ReLU, dropout and classifier of the fused feature."""

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from mmseg_tapadl.layers import can_classify_normed, normed_classifier


def classify_fused(head: BaseDecodeHead, fusion: ConvModule, fused: Tensor) -> Tensor:
    """Logits (B, num_classes, H, W) of what the convolution of ``fusion`` made, (B, C, H, W).

    The same as ``head.cls_seg(fusion.activate(fusion.norm(fused)))``, without keeping what lies between wherever
    that can be computed again.
    """
    norm, activation = fusion.norm, fusion.activate
    if not can_classify_normed(norm, activation):
        return head.cls_seg(activation(norm(fused)))
    mask = None
    if head.dropout is not None and head.training:
        # Dropout2d drops whole channels: of ones it makes their factors, from the same random numbers.
        mask = head.dropout(fused.new_ones(*fused.shape[:2], 1, 1))
    return normed_classifier(fused, norm, mask, head.conv_seg.weight, head.conv_seg.bias)
