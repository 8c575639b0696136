"""Encoders that mmseg builds by name."""

from mmseg_tapadl.models.backbones.fan import FAN
from mmseg_tapadl.models.backbones.fan_arch import FAN_ARCHS

__all__ = ['FAN', 'FAN_ARCHS']
