"""Mixed precision that works with and without a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on the CPU; bfloat16 has float32's range, so no loss is scaled.

    Args:
        **kwargs: As for ``OptimWrapper`` (``optimizer``, ``accumulative_counts``, ``clip_grad``).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Runs the forward pass under autocast."""
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield


def use_mixed_precision(optim_wrapper: dict) -> str:
    """Switches an ``optim_wrapper`` config to mixed precision, for the device at hand.

    Args:
        optim_wrapper: Changed in place: ``AmpOptimWrapper`` (float16 unless its ``dtype`` says otherwise,
            with loss scaling) where CUDA is, :class:`CpuAmpOptimWrapper` (bfloat16) where it is not.

    Returns:
        The number type, in words for the log.
    """
    if torch.cuda.is_available():
        optim_wrapper['type'] = AmpOptimWrapper.__name__
        optim_wrapper.setdefault('dtype', 'float16')
        return str(optim_wrapper['dtype'])
    optim_wrapper['type'] = CpuAmpOptimWrapper.__name__
    for key in ('dtype', 'loss_scale', 'use_fsdp'):
        optim_wrapper.pop(key, None)
    return 'bfloat16'
