"""The one interface between an encoder's attention and a loss that watches it.

Any encoder offers its attention to the attention diversification loss by computing it with a
:class:`WatchableAttention`, a module without parameters. Nothing else is asked of it: an
:class:`AttentionWatch` finds these modules, in the order in which they are registered.

Legend: B images, H heads, N queries, M keys, D channels of a head.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_tapadl.layers.diversified_attention import diversified_attention


class WatchableAttention(nn.Module):
    """Softmax attention that a loss can watch; by itself it is fused attention and nothing more.

    While no :class:`AttentionWatch` has armed it, and always in evaluation, it calls
    ``scaled_dot_product_attention`` and collects nothing. Armed and in training it computes the
    diversity beside the attention, and hands it to the watch if that is listening.

    Args:
        scale: Factor of the scores; ``None`` is ``D ** -0.5``.
        attn_drop_rate: Dropout of the attention in training, from 0 to below 1. It cannot be watched above 0.

    Raises:
        ValueError: An ``attn_drop_rate`` that is no such rate.
    """

    def __init__(self, *, scale: float | None = None, attn_drop_rate: float = 0.0):
        super().__init__()
        if not 0 <= attn_drop_rate < 1:
            raise ValueError(f'attn_drop_rate must be from 0 to below 1, got {attn_drop_rate}')
        self.scale = scale
        self.attn_drop_rate = attn_drop_rate
        self.threshold: float | None = None
        self.sink: list[Tensor] | None = None

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Maps q (B, H, N, D), k and v (B, H, M, D) to the attended values (B, H, N, D)."""
        if self.threshold is None or not self.training:
            dropout = self.attn_drop_rate if self.training else 0.0
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=self.scale)
        # Armed, the same path is taken whether or not the watch listens: activation checkpointing
        # runs it again in the backward pass and must rebuild the same tensors, but count nothing twice.
        out, diversity = diversified_attention(q, k, v, scale=self.scale, threshold=self.threshold)
        if self.sink is not None:
            if torch.is_grad_enabled() != self._watch_has_grad:
                raise RuntimeError(
                    'the watched attention runs without gradients inside a training step, so its loss would '
                    'have none: use checkpoint(..., use_reentrant=False) for activation checkpointing, and do '
                    'not watch frozen layers (loss_attention.layers chooses which are watched)'
                )
            self.sink.append(diversity)
        return out

    def listen(self, sink: list[Tensor] | None) -> None:
        """Starts (a list) or ends (``None``) the collection of diversities."""
        self.sink = sink
        self._watch_has_grad = torch.is_grad_enabled()

    def extra_repr(self) -> str:
        return f'scale={self.scale}, attn_drop_rate={self.attn_drop_rate}, threshold={self.threshold}'


class AttentionWatch:
    """Arms the attention of an encoder and collects its diversity during a forward pass.

    Args:
        encoder: Any module that computes attention with :class:`WatchableAttention`.
        threshold: tau of the paper: attention above ``tau / M`` counts.
        layers: Which of the encoder's attentions to watch, by position, negative from the end;
            ``None`` watches all.

    Raises:
        ValueError: The encoder has no attention to watch, ``layers`` names one it does not have, or a watched
            attention has dropout: the diversity would be that of the attention before it is thinned out.
    """

    def __init__(self, encoder: nn.Module, *, threshold: float = 2.0, layers: Sequence[int] | None = None):
        attentions = [m for m in encoder.modules() if isinstance(m, WatchableAttention)]
        if not attentions:
            raise ValueError(
                f'{type(encoder).__name__} offers no attention to watch: it has no WatchableAttention module '
                '(see docs/add_an_encoder.md), so loss_attention must be None'
            )
        if layers is not None:
            count = len(attentions)
            wrong = [i for i in layers if not -count <= i < count]
            if wrong or not layers:
                raise ValueError(
                    f'layers={list(layers)}: {type(encoder).__name__} has {count} attentions, '
                    f'numbered 0 to {count - 1}'
                )
            attentions = [attentions[i] for i in layers]
        rates = {attention.attn_drop_rate for attention in attentions} - {0.0}
        if rates:
            raise ValueError(
                f'attn_drop_rate={max(rates)}: attention with dropout cannot be watched; '
                'set attn_drop_rate=0.0 or loss_attention=None'
            )
        self.attentions = attentions
        for attention in attentions:
            attention.threshold = threshold

    @contextmanager
    def listening(self) -> Iterator[list[Tensor]]:
        """Yields a list that the watched attentions fill, each with its diversity (B,)."""
        diversities: list[Tensor] = []
        for attention in self.attentions:
            attention.listen(diversities)
        try:
            yield diversities
        finally:
            for attention in self.attentions:
                attention.listen(None)
