"""What attention does, in numbers and in maps; and how large and how fast a model is.

On plain tensors: :func:`attention_measures`, :func:`attention_stability`. On an encoder: :func:`record_attention`, whose
result tells where a point looks; :class:`AttentionListener`, which hears each attention while it is computed.
"""

from mmseg_tapadl.analysis.listener import AttentionListener, HeardAttention
from mmseg_tapadl.analysis.measures import (
    AttentionMeasures,
    AttentionStability,
    attention_measures,
    attention_stability,
)
from mmseg_tapadl.analysis.recorded_attention import RecordedAttention, record_attention
from mmseg_tapadl.layers.attention_watch import AttentionInputs

__all__ = [
    'AttentionInputs',
    'AttentionListener',
    'AttentionMeasures',
    'AttentionStability',
    'HeardAttention',
    'RecordedAttention',
    'attention_measures',
    'attention_stability',
    'record_attention',
]
