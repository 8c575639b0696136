"""Encoders that mmseg builds by name."""

from mmseg_tapadl.models.backbones.fan import FAN
from mmseg_tapadl.models.backbones.fan_arch import FAN_ARCHS
from mmseg_tapadl.models.backbones.mit_arch import MIT_ARCHS
from mmseg_tapadl.models.backbones.rvt import RVT
from mmseg_tapadl.models.backbones.rvt_arch import RVT_ARCHS
from mmseg_tapadl.models.backbones.swin_arch import SWIN_ARCHS
from mmseg_tapadl.models.backbones.tap_mit import TAPMixVisionTransformer
from mmseg_tapadl.models.backbones.tap_swin import TAPSwin
from mmseg_tapadl.models.backbones.timm_vit import TimmViT

__all__ = [
    'FAN',
    'FAN_ARCHS',
    'MIT_ARCHS',
    'RVT',
    'RVT_ARCHS',
    'SWIN_ARCHS',
    'TAPMixVisionTransformer',
    'TAPSwin',
    'TimmViT',
]
