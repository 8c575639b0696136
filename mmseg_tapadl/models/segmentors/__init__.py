"""Segmentors that mmseg builds by name."""

from mmseg_tapadl.models.segmentors.attention_encoder_decoder import AttentionEncoderDecoder

__all__ = ['AttentionEncoderDecoder']
