"""What mmseg builds by name: encoders, decode heads, losses, segmentors. Thin over ``layers``."""

from mmseg_tapadl.utils.quiet_imports import quiet_imports

with quiet_imports():
    from mmseg_tapadl.models.backbones import FAN, TAPMixVisionTransformer, TimmViT
    from mmseg_tapadl.models.heads import FANHead, FastSegformerHead
    from mmseg_tapadl.models.losses import AttentionDiversificationLoss
    from mmseg_tapadl.models.segmentors import AttentionEncoderDecoder

__all__ = [
    'FAN',
    'AttentionDiversificationLoss',
    'AttentionEncoderDecoder',
    'FANHead',
    'FastSegformerHead',
    'TAPMixVisionTransformer',
    'TimmViT',
]
