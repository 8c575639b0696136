"""What is kept for the backward pass and what is computed again in it; running statistics count once."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmseg_tapadl.layers.budget import budget_for

_is_inside: ContextVar[bool] = ContextVar('is_inside_checkpoint', default=False)


def checkpoint_module(module: nn.Module, *args: Any) -> Any:
    """Calls ``module(*args)``, keeping only its inputs; the backward pass computes the rest again.

    The second forward pass does not update the running statistics of batch norms: with checkpointing on or
    off, losses, gradients and buffers are the same. Random layers draw the same numbers in both passes.
    """
    return _checkpoint(module, module, *args)


def recompute_if_liked(module: nn.Module, method: Callable, x: Tensor, *args: Any) -> Any:
    """Calls ``method(x, *args)`` of a module; in training only ``x`` is kept where the device's budget says recompute.

    Inside :func:`checkpoint_module` it is a plain call: nothing would be kept in any case, and computing a part of
    what is being computed again would make three passes of two.
    """
    if (
        module.training
        and torch.is_grad_enabled()
        # In compiled code the compiler decides what is computed again.
        and not torch.compiler.is_compiling()
        and not _is_inside.get()
        and budget_for(x.device).recompute
    ):
        return _checkpoint(module, method, x, *args)
    return method(x, *args)


def _checkpoint(module: nn.Module, method: Callable, *args: Any) -> Any:
    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return _inside(), _inside_again(module)

    return checkpoint(method, *args, use_reentrant=False, context_fn=contexts)


@contextmanager
def _inside() -> Iterator[None]:
    token = _is_inside.set(True)
    try:
        yield
    finally:
        _is_inside.reset(token)


@contextmanager
def _inside_again(module: nn.Module) -> Iterator[None]:
    with _inside(), frozen_running_statistics(module):
        yield


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
