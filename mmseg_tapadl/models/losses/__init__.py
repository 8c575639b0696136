"""Losses that mmseg builds by name."""

from mmseg_tapadl.models.losses.attention_diversification_loss import AttentionDiversificationLoss

__all__ = ['AttentionDiversificationLoss']
