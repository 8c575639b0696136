"""Inputs of an attention sharp enough for its similarity to be above 0, and all that comes out of one."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from mmseg_tapadl.layers.budget import Budget, use_budget
from tests.device import DEVICE


def random_attention_inputs(
    images: int,
    heads: int,
    queries: int,
    keys: int,
    channels: int,
    *,
    seed: int = 0,
    sharpness: float = 2.0,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """q, k, v with a part shared by all queries and all keys of a head, so that queries attend alike."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    q = sharpness * (normal(images, heads, queries, channels) + normal(images, 1, 1, channels))
    k = normal(images, heads, keys, channels) + normal(images, 1, keys, channels)
    v = normal(images, heads, keys, channels)
    return [x.to(dtype) for x in (q, k, v)]


def all_gradients(function: Callable, inputs: Sequence[Tensor], **arguments: Any) -> dict[str, Tensor]:
    """What ``function(q, k, v, **arguments)`` returns, and the gradients of both results together."""
    q, k, v = (x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in inputs)
    out, similarity = function(q, k, v, **arguments)
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype)
    # The similarity is a mean over the queries; weighed by their number it moves each gradient as much as out.
    image_weight = out.shape[2] * torch.linspace(1, 2, len(similarity), dtype=similarity.dtype)
    ((out * weight).sum() + (similarity * image_weight).sum()).backward()
    return dict(out=out.detach(), similarity=similarity.detach(), grad_q=q.grad, grad_k=k.grad, grad_v=v.grad)


def blocks_of(num_bytes: int, **changes: Any) -> AbstractContextManager[Budget]:
    """Meanwhile attention is computed in blocks of at most so many bytes, as soon as they hold one query."""
    return use_budget(DEVICE, attention_block_bytes=num_bytes, attention_block_rows=1, **changes)
