"""The one interface between an encoder's attention and a loss that watches it.

Any encoder offers its attention to the attention diversification loss by computing it with a
:class:`WatchableAttention`, a module without parameters. Nothing else is asked of it: an
:class:`AttentionWatch` finds these modules, in the order in which they are registered.

Legend: B batch entries (images, or windows of images), H heads, N queries, M keys, D channels of a head.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_tapadl.layers.diversified_attention import (
    Gain,
    blockwise_attention,
    checked_inputs,
    diversified_attention,
    whole_attention,
)
from mmseg_tapadl.layers.score_terms import as_score_tensor
from mmseg_tapadl.utils.errors import InputError


class NoGradientError(InputError, RuntimeError):
    """A watched attention ran without gradients inside a training step, so that its loss would have none."""


@dataclass(frozen=True)
class AttentionInputs:
    """What one attention was computed from, as :func:`diversified_attention` takes it.

    Attributes:
        q: Queries (B, H, N, D).
        k: Keys (B, H, M, D).
        scale: Factor of the scores; ``None`` is ``D ** -0.5``.
        bias: Added to the scores; broadcasts to (B, H, N, M).
        gain: Multiplies the scores, whole or as a function of a slice of the queries.
        num_prefix: How many of the first queries and keys are no patches.
    """

    q: Tensor
    k: Tensor
    scale: float | None = None
    bias: Tensor | None = None
    gain: Gain | None = None
    num_prefix: int = 0


class WatchableAttention(nn.Module):
    """Softmax attention that a loss can watch; by itself it is fused attention and nothing more.

    While no :class:`AttentionWatch` has armed it, and always in evaluation, it calls
    ``scaled_dot_product_attention`` (with a gain, the blockwise pass that needs no N x M matrix) and collects
    nothing. Armed and in training it computes the similarity beside the attention, and hands it to the
    watches that are listening.

    Args:
        scale: Factor of the scores; ``None`` is ``D ** -0.5``.
        attn_drop_rate: Dropout of the attention in training, from 0 to below 1. It cannot be watched above 0,
            nor go with a gain.

    Raises:
        InputError: An ``attn_drop_rate`` that is no such rate.
    """

    def __init__(self, *, scale: float | None = None, attn_drop_rate: float = 0.0):
        super().__init__()
        if not 0 <= attn_drop_rate < 1:
            raise InputError(f'attn_drop_rate must be from 0 to below 1, got {attn_drop_rate}')
        self.scale = scale
        self.attn_drop_rate = attn_drop_rate
        self.threshold: float | None = None
        self._sinks: list[list[Tensor]] = []
        self._must_have_grad = False
        self._observers: list[Observer] = []

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        bias: Tensor | None = None,
        gain: Gain | None = None,
        num_prefix: int = 0,
    ) -> Tensor:
        """Maps q (B, H, N, D), k and v (B, H, M, D) to the attended values (B, H, N, D).

        Args:
            q: Queries.
            k: Keys.
            v: Values.
            bias: Added to the scores; broadcasts to (B, H, N, M). A mask is a bias of -inf.
            gain: Multiplies the scores before the bias is added: a tensor that broadcasts to (B, H, N, M), or a
                function of a slice of the queries (see ``diversified_attention``).
            num_prefix: How many of the first queries and keys are no patches, so that their similarity is not asked.

        Raises:
            ValueError: Shapes or dtypes that do not fit, a ``num_prefix`` that leaves no patch, a gain with dropout.
            NoGradientError: See :meth:`report`.
        """
        out = self._attend(q, k, v, bias=bias, gain=gain, num_prefix=num_prefix)
        for observer in self._observers:
            observer(self, AttentionInputs(q, k, self.scale, bias, gain, num_prefix))
        return out

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None, gain: Gain | None, num_prefix: int
    ) -> Tensor:
        if self.threshold is not None and self.training:
            # Armed, the same path is taken whether or not a watch listens: activation checkpointing
            # runs it again in the backward pass and must rebuild the same tensors, but count nothing twice.
            out, similarity = diversified_attention(
                q,
                k,
                v,
                scale=self.scale,
                threshold=self.threshold,
                bias=bias,
                gain=gain,
                num_prefix=num_prefix,
            )
            self.report(similarity)
            return out
        q, k, v = checked_inputs(q, k, v, num_prefix)
        dropout = self.attn_drop_rate if self.training else 0.0
        if gain is not None:
            if dropout > 0:
                raise ValueError(
                    f'attn_drop_rate={dropout}: attention with a gain has no dropout; set it to 0.0'
                )
            if torch.compiler.is_compiling() and not torch.is_grad_enabled():
                # An exported graph would hold the nodes of every block: thousands for a picture of a street.
                return whole_attention(q, k, v, scale=self.scale, bias=bias, gain=gain)
            return blockwise_attention(q, k, v, scale=self.scale, bias=bias, gain=gain)[0]
        if bias is not None:
            bias = as_score_tensor('bias', bias, (*q.shape[:3], k.shape[2]), q.device).to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=self.scale)

    def report(self, similarity: Tensor) -> None:
        """Hands the similarity (B,) of this pass to the watches that are listening.

        Raises:
            NoGradientError: Gradients are switched off here, but were on when the watch began to listen.
        """
        if self._sinks and self._must_have_grad and not torch.is_grad_enabled():
            raise NoGradientError(
                'the watched attention runs without gradients inside a training step, so its loss would '
                'have none: use checkpoint(..., use_reentrant=False) for activation checkpointing, and do '
                'not watch frozen layers (loss_attention.layers chooses which are watched)'
            )
        for sink in self._sinks:
            sink.append(similarity)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a file of it holds: nobody listens to a copy."""
        return {**self.__dict__, '_sinks': [], '_observers': []}

    def start_listening(self, sink: list[Tensor]) -> None:
        """From now on the similarity of each pass is appended to ``sink`` too."""
        self._sinks.append(sink)
        self._must_have_grad = torch.is_grad_enabled()

    def stop_listening(self, sink: list[Tensor]) -> None:
        """Nothing more is appended to ``sink``."""
        self._sinks = [other for other in self._sinks if other is not sink]

    def start_observing(self, observer: 'Observer') -> None:
        """From now on ``observer`` is called after each pass."""
        self._observers.append(observer)

    def stop_observing(self, observer: 'Observer') -> None:
        """``observer`` is no longer called."""
        self._observers = [other for other in self._observers if other is not observer]

    def extra_repr(self) -> str:
        return f'scale={self.scale}, attn_drop_rate={self.attn_drop_rate}, threshold={self.threshold}'


Observer: TypeAlias = Callable[[WatchableAttention, AttentionInputs], None]
"""Gets an attention and what it was computed from, after it was computed; it must change neither."""


def attentions_of(encoder: nn.Module, otherwise: str) -> list[WatchableAttention]:
    """The attentions of an encoder in the order in which they are registered.

    Args:
        encoder: Any module.
        otherwise: What follows from having none, for the error.

    Raises:
        InputError: It has none.
    """
    attentions = [m for m in encoder.modules() if isinstance(m, WatchableAttention)]
    if not attentions:
        raise InputError(
            f'{type(encoder).__name__} offers no attention to watch: it has no WatchableAttention module '
            f'(see docs/add_an_encoder.md), {otherwise}'
        )
    return attentions


@contextmanager
def observed(encoder: nn.Module, observer: Observer) -> Iterator[list[WatchableAttention]]:
    """Meanwhile ``observer`` is called after each attention of the encoder, in the order of the forward pass.

    The attention itself is computed as ever, bit for bit. Yields the attentions. Activation checkpointing, in
    training, computes attention again in the backward pass, and the observer is then called again.

    Raises:
        InputError: The encoder has no attention to observe.
    """
    attentions = attentions_of(encoder, 'so there is none to look at')
    for attention in attentions:
        attention.start_observing(observer)
    try:
        yield attentions
    finally:
        for attention in attentions:
            attention.stop_observing(observer)


class AttentionWatch:
    """Arms the attention of an encoder and collects its similarity during a forward pass.

    Several watches may be set on one encoder, with one threshold.

    Args:
        encoder: Any module that computes attention with :class:`WatchableAttention`.
        threshold: tau of the paper, above 0: attention above ``tau / M`` counts.
        layers: Which of the encoder's attentions to watch, by position, negative from the end, each once;
            ``None`` watches all.

    Attributes:
        attentions: The watched modules.

    Raises:
        InputError: The encoder has no attention to watch; ``layers`` names one it does not have, or one twice;
            a threshold that is not positive, or not that of an earlier watch on the same attention; a watched
            attention has dropout: the similarity would be that of the attention before it is thinned out.
    """

    def __init__(self, encoder: nn.Module, *, threshold: float = 2.0, layers: Sequence[int] | None = None):
        if not 0 < threshold < float('inf'):
            raise InputError(f'threshold={threshold}: it must be above 0 and finite')
        name = type(encoder).__name__
        attentions = attentions_of(encoder, 'so loss_attention must be None')
        attentions = [attentions[i] for i in chosen_positions(layers, len(attentions), name)]
        for attention in attentions:
            if attention.attn_drop_rate > 0:
                raise InputError(
                    f'attn_drop_rate={attention.attn_drop_rate}: attention with dropout cannot be watched; '
                    'set attn_drop_rate=0.0 or loss_attention=None'
                )
            if attention.threshold not in (None, threshold):
                raise InputError(
                    f'threshold={threshold}: {name} is already watched with threshold={attention.threshold}, and '
                    'an attention has one: use the same, watch other layers, or release() the earlier watch'
                )
        self.attentions = attentions
        for attention in attentions:
            attention.threshold = threshold

    @contextmanager
    def listening(self) -> Iterator[list[Tensor]]:
        """Yields a list that fills during forward passes: one similarity (B,) a watched attention, in their order.

        An attention in evaluation mode adds nothing.
        """
        similarities: list[Tensor] = []
        for attention in self.attentions:
            attention.start_listening(similarities)
        try:
            yield similarities
        finally:
            for attention in self.attentions:
                attention.stop_listening(similarities)

    def release(self) -> None:
        """Disarms the watched attentions, for every watch on them: they are fused attention again.

        Call it after the backward pass: activation checkpointing computes the attention there again.
        """
        for attention in self.attentions:
            attention.threshold = None


def chosen_positions(layers: Sequence[int] | None, count: int, name: str) -> list[int]:
    """The positions that ``layers`` chooses among ``count`` attentions of the encoder ``name``, from 0 up."""
    if layers is None:
        return list(range(count))
    try:
        layers = list(layers)
    except TypeError:
        raise InputError(f'layers={layers!r}: give a list of positions, or None for all') from None
    numbers = all(isinstance(i, int) and not isinstance(i, bool) for i in layers)
    if not layers or not numbers or not all(-count <= i < count for i in layers):
        raise InputError(f'layers={layers}: {name} has {count} attentions, numbered 0 to {count - 1}')
    positions = [i % count for i in layers]
    twice = sorted({i for i in positions if positions.count(i) > 1})
    if twice:
        raise InputError(
            f'layers={layers}: names attention {twice[0]} of 0 to {count - 1} twice; once is enough'
        )
    return positions
