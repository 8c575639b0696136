"""Hears each attention that pictures pass on their way through an encoder, and leaves nothing behind.

Legend: B pictures of one pass, K branches of token-aware average pooling (TAP).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_tapadl.layers import TokenAwareAvgPool, WatchableAttention
from mmseg_tapadl.layers.attention_watch import AttentionInputs, observed


@dataclass(frozen=True)
class HeardAttention:
    """One attention of one pass through an encoder.

    Attributes:
        number: Which of the pass's attentions, in the order of the forward pass, from 0.
        name: Of its module within the encoder.
        inputs: What it was computed from; not to be changed.
        passed: How many passes went before.
        pictures: B.
        size: Height and width of the pictures as the encoder got them.
        branch_weights: (B, K, rows, columns) of the TAP before it; ``None`` without one.
    """

    number: int
    name: str
    inputs: AttentionInputs
    passed: int
    pictures: int
    size: tuple[int, int]
    branch_weights: Tensor | None


class AttentionListener:
    """Calls a function for each attention of an encoder while :meth:`listening`; what is computed stays the same.

    Args:
        encoder: Maps pictures (B, channels, H, W), and computes attention with :class:`WatchableAttention`.
        hear: Gets each attention right after it was computed.

    Attributes:
        passes: How many attentions each pass through the encoder had, of those since listening began.
    """

    def __init__(self, encoder: nn.Module, hear: Callable[[HeardAttention], None]):
        self.encoder = encoder
        self.hear = hear
        self.passes: list[int] = []
        self._size: tuple[int, int] = (0, 0)
        self._pictures = 0
        self._weights: Tensor | None = None
        self._names: dict[nn.Module, str] = {}

    @contextmanager
    def listening(self) -> Iterator['AttentionListener']:
        """Listens meanwhile.

        Raises:
            InputError: The encoder has no attention to listen to.
        """
        self.passes = []
        self._names = {module: name for name, module in self.encoder.named_modules()}
        with ExitStack() as stack:
            stack.enter_context(observed(self.encoder, self._heard))
            hook = self.encoder.register_forward_pre_hook(self._entered, with_kwargs=True)
            stack.callback(hook.remove)
            for module in self.encoder.modules():
                if isinstance(module, TokenAwareAvgPool):
                    stack.callback(module.proj.register_forward_hook(self._weighed).remove)
            yield self

    def _entered(self, encoder: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        picture = next(x for x in (*inputs, *named.values()) if isinstance(x, Tensor))
        self._pictures, self._size = picture.shape[0], tuple(picture.shape[-2:])
        self._weights = None
        self.passes.append(0)

    def _weighed(self, predictor: nn.Module, inputs: tuple[Any, ...], logits: Tensor) -> None:
        self._weights = torch.softmax(logits.detach(), dim=1)

    def _heard(self, attention: WatchableAttention, inputs: AttentionInputs) -> None:
        if not self.passes:  # the encoder's ``forward`` was called by itself
            self.passes.append(0)
            self._pictures = inputs.q.shape[0]
        number = self.passes[-1]
        self.passes[-1] += 1
        # TAP pools right before the attention that it belongs to.
        weights, self._weights = self._weights, None
        self.hear(
            HeardAttention(
                number=number,
                name=self._names[attention],
                inputs=inputs,
                passed=len(self.passes) - 1,
                pictures=self._pictures,
                size=self._size,
                branch_weights=weights,
            )
        )
