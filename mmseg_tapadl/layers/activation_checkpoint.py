"""Activation checkpointing that leaves running statistics as if the forward pass had run once."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def checkpoint_module(module: nn.Module, *args: Any) -> Any:
    """Calls ``module(*args)``, keeping only its inputs; the backward pass computes the rest again.

    The second forward pass does not update the running statistics of batch norms: with checkpointing on or
    off, losses, gradients and buffers are the same. Random layers draw the same numbers in both passes.
    """
    return checkpoint_method(module, module, *args)


def checkpoint_method(module: nn.Module, method: Callable, *args: Any) -> Any:
    """As :func:`checkpoint_module`, for any method of the module: calls ``method(*args)``."""

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), frozen_running_statistics(module)

    return checkpoint(method, *args, use_reentrant=False, context_fn=contexts)


@contextmanager
def frozen_running_statistics(module: nn.Module) -> Iterator[None]:
    """Within it, batch norms in training update copies of their running statistics, which are then dropped."""
    norms = [
        m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    kept = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
