"""The device on which layers and models are tested: ``TAPADL_TEST_DEVICE=cuda python -m pytest tests/layers tests/models``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

VARIABLE = 'TAPADL_TEST_DEVICE'
RANDOM = {torch.rand, torch.randn, torch.randint, torch.randperm}
MAKERS = RANDOM | {
    torch.arange,
    torch.as_tensor,
    torch.empty,
    torch.empty_strided,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.ones,
    torch.tensor,
    torch.zeros,
}


def check_device(name: str) -> None:
    """Ends the run with status 2 if nothing can be computed on this device."""
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        pytest.exit(f"{VARIABLE}='{name}': no device to test on: {reason}", returncode=2)


def device_name() -> str:
    """The device that the environment names; a processor by default."""
    return os.environ.get(VARIABLE) or 'cpu'


class MadeOn(TorchFunctionMode):
    """Tensors for which no device is asked are made on this one; random ones are drawn on a processor and moved.

    So they have the same values on every device, and a generator of the processor serves for all.
    """

    def __init__(self, device: torch.device):
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in MAKERS or kwargs.get('device') is not None:
            return func(*args, **kwargs)
        if func not in RANDOM:
            return func(*args, **(kwargs | {'device': self.device}))
        requires_grad = kwargs.pop('requires_grad', False)
        drawn = func(*args, **(kwargs | {'device': 'cpu'})).to(self.device)
        return drawn.requires_grad_() if requires_grad else drawn


@contextmanager
def on_device(name: str) -> Iterator[None]:
    """Everything meanwhile is made on the device; on a GPU it is repeatable and float32 is float32."""
    if name == 'cpu':
        yield
        return
    cudnn = torch.backends.cudnn
    with (
        MadeOn(torch.device(name)),
        cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        yield


DEVICE = device_name()
DEVICE_TYPE = DEVICE.partition(':')[0]
