"""Decode heads that mmseg builds by name."""

from mmseg_tapadl.models.heads.fan_head import FANHead
from mmseg_tapadl.models.heads.segformer_head import FastSegformerHead

__all__ = ['FANHead', 'FastSegformerHead']
