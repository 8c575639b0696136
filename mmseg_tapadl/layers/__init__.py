"""The paper on a few screens: pure torch layers, one concept a file, no mmseg."""

from mmseg_tapadl.layers.activation_checkpoint import checkpoint_module
from mmseg_tapadl.layers.attention_grid import AttentionGrid
from mmseg_tapadl.layers.attention_watch import AttentionWatch, WatchableAttention
from mmseg_tapadl.layers.diversified_attention import diversified_attention
from mmseg_tapadl.layers.fan_block import ClosingBlock, FANBlock
from mmseg_tapadl.layers.level_fusion import fuse_levels
from mmseg_tapadl.layers.normed_classifier import can_classify_normed, normed_classifier
from mmseg_tapadl.layers.rvt_block import RVTBlock, RVTStem
from mmseg_tapadl.layers.sine_position import SinePositionCode
from mmseg_tapadl.layers.stems import ConvEmbed, HybridEmbed
from mmseg_tapadl.layers.token_aware_pooling import TokenAwareAvgPool, token_aware_avg_pool
from mmseg_tapadl.layers.token_grid import to_grid, to_tokens

__all__ = [
    'AttentionGrid',
    'AttentionWatch',
    'ClosingBlock',
    'ConvEmbed',
    'FANBlock',
    'HybridEmbed',
    'RVTBlock',
    'RVTStem',
    'SinePositionCode',
    'TokenAwareAvgPool',
    'WatchableAttention',
    'can_classify_normed',
    'checkpoint_module',
    'diversified_attention',
    'fuse_levels',
    'normed_classifier',
    'to_grid',
    'to_tokens',
    'token_aware_avg_pool',
]
