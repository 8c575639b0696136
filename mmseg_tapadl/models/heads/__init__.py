"""Decode heads that mmseg builds by name."""

from mmseg_tapadl.models.heads.fan_head import FANHead

__all__ = ['FANHead']
