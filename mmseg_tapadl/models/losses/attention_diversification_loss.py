"""The attention diversification loss (ADL), as mmseg builds it by name."""

from collections.abc import Sequence

import torch
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_tapadl.layers import AttentionWatch
from mmseg_tapadl.models.losses.attention_reach import require_reach_when_built
from mmseg_tapadl.utils.arguments import lists_valid_arguments
from mmseg_tapadl.utils.errors import InputError


@MODELS.register_module()
@lists_valid_arguments
class AttentionDiversificationLoss(nn.Module):
    """Penalises output tokens for all attending to the same few input tokens (paper, section 3.2).

    The value lies between 0 and ``loss_weight``. Each watched layer's similarity is averaged over the images of
    the batch (over windows too, where windows are batch entries), then the layers, which weigh alike however
    many entries each has.

    Args:
        threshold: tau, above 0: attention above ``tau / M`` counts, with M keys.
        loss_weight: lambda.
        layers: Which of the encoder's attentions to watch, by position, negative from the end; ``None``
            watches all.
        warmup_iters: Over so many iterations of a run the weight rises evenly from ``loss_weight / warmup_iters`` to
            ``loss_weight`` (not of the paper: for an encoder that was pretrained without this loss). It goes by the run's
            own count, so that a run that goes on has the same weights; outside a run the weight is whole.

    Raises:
        InputError: A threshold that is not positive and finite, a number of iterations that is not a whole one from 0.
    """

    def __init__(
        self,
        threshold: float = 2.0,
        loss_weight: float = 1.0,
        layers: Sequence[int] | None = None,
        warmup_iters: int = 0,
    ):
        super().__init__()
        if not 0 < threshold < float('inf'):
            raise InputError(f'threshold={threshold}: it must be above 0 and finite')
        if isinstance(warmup_iters, bool) or not isinstance(warmup_iters, int) or warmup_iters < 0:
            raise InputError(f'warmup_iters={warmup_iters!r}: it must be a whole number, 0 or more')
        self.threshold = threshold
        self.loss_weight = loss_weight
        self.layers = layers
        self.warmup_iters = warmup_iters

    @property
    def weight(self) -> float:
        """The weight in this iteration."""
        iteration = MessageHub.get_current_instance().get_info('iter') if self.warmup_iters else None
        if iteration is None:
            return self.loss_weight
        return self.loss_weight * min(1.0, (iteration + 1) / self.warmup_iters)

    def watch(self, encoder: nn.Module) -> AttentionWatch:
        """Arms the encoder's attention for this loss.

        Raises:
            InputError: The encoder has no attention to watch, not the asked layers, or no trainable weight that
                the watched attention depends on.
        """
        try:
            watch = AttentionWatch(encoder, threshold=self.threshold, layers=self.layers)
        except InputError as error:
            raise InputError(f'loss_attention: {error}') from None
        require_reach_when_built(encoder, watch)
        return watch

    def forward(self, similarities: Sequence[Tensor]) -> Tensor:
        """Reduces the similarities of the watched layers to the loss.

        Args:
            similarities: One (B,) a layer; B may differ from layer to layer.

        Returns:
            A scalar in float32 or wider.

        Raises:
            InputError: There is none.
        """
        if not similarities:
            raise InputError(
                'loss_attention: no attention was watched in this forward pass; in evaluation mode none is'
            )
        return self.weight * torch.stack([similarity.mean() for similarity in similarities]).mean()
