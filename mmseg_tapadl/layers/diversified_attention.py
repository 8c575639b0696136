"""Placeholder until the block walk lands: the textbook form behind the final name."""

from mmseg_tapadl.layers.textbook import textbook_diversified_attention as diversified_attention

__all__ = ['diversified_attention']
