"""The attention diversification loss (ADL), as mmseg builds it by name."""

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_tapadl.layers import AttentionWatch
from mmseg_tapadl.utils.arguments import lists_valid_arguments
from mmseg_tapadl.utils.errors import InputError


@MODELS.register_module()
@lists_valid_arguments
class AttentionDiversificationLoss(nn.Module):
    """Penalises output tokens for all attending to the same few input tokens (paper, section 3.2).

    The value is the mean over the watched layers and over the images of the batch, between 0 and
    ``loss_weight``.

    Args:
        threshold: tau, above 0: attention above ``tau / M`` counts, with M keys.
        loss_weight: lambda.
        layers: Which of the encoder's attentions to watch, by position, negative from the end; ``None``
            watches all.

    Raises:
        InputError: A threshold that is not positive.
    """

    def __init__(
        self,
        threshold: float = 2.0,
        loss_weight: float = 1.0,
        layers: Sequence[int] | None = None,
    ):
        super().__init__()
        if not threshold > 0:
            raise InputError(f'threshold={threshold}: it must be above 0')
        self.threshold = threshold
        self.loss_weight = loss_weight
        self.layers = None if layers is None else tuple(layers)

    def watch(self, encoder: nn.Module) -> AttentionWatch:
        """Arms the encoder's attention for this loss.

        Raises:
            InputError: The encoder has no attention to watch, or not the asked layers.
        """
        try:
            return AttentionWatch(encoder, threshold=self.threshold, layers=self.layers)
        except ValueError as error:
            raise InputError(f'loss_attention: {error}') from None

    def forward(self, diversities: Sequence[Tensor]) -> Tensor:
        """Reduces the diversity of each watched layer, (B,) each, to the loss, a scalar in float32 or wider."""
        return self.loss_weight * torch.stack(list(diversities)).mean()
