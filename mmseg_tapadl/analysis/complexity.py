"""How large, how costly and how fast a segmentor is.

Operations are counted by PyTorch's own counter on fake tensors: shapes flow, no number is computed and no
memory taken. It counts matrix products, convolutions and attention, which is where the operations are; norms,
activations and resizing are not counted.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmseg_tapadl.utils import InputError

PARTS = ('backbone', 'decode_head')


@dataclass(frozen=True)
class Complexity:
    """What one forward pass of one picture takes.

    Attributes:
        parameters: Number of parameters of each part.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        macs: Multiply-adds of each part for this picture.
        seconds: Measured time, the best of the runs; ``None`` if it was not measured.
    """

    parameters: dict[str, int]
    height: int
    width: int
    macs: dict[str, int]
    seconds: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for a JSON file."""
        return asdict(self)


def complexity_of(
    cfg: Config, height: int, width: int, *, repeats: int = 3, device: str = 'cpu'
) -> Complexity:
    """Counts and, if asked to, measures the segmentor of a config.

    Args:
        cfg: A config with ``model``.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        repeats: Timed runs after one to warm up; 0 measures nothing.
        device: Where it is measured.

    Raises:
        InputError: The config has no model that can be built.
    """
    model = build_for_inference(cfg)
    return Complexity(
        parameters={part: count_parameters(getattr(model, part)) for part in PARTS},
        height=height,
        width=width,
        macs=count_macs(model, height, width),
        seconds=measure(model, height, width, repeats, device) if repeats else None,
    )


def build_for_inference(cfg: Config) -> nn.Module:
    """The segmentor of a config in evaluation, with random weights; no checkpoint is read."""
    import mmseg_tapadl.register  # noqa: F401  what the config names

    init_default_scope('mmseg')
    try:
        config = cfg.model.copy()
        config.backbone = {**config.backbone, 'init_cfg': None}
        model = MODELS.build(config)
    except (AttributeError, KeyError, TypeError, ValueError, AssertionError) as error:
        # What mmengine and mmseg say of a model that they cannot build.
        raise InputError(f'{cfg.filename}: its model cannot be built: {error}') from error
    return revert_sync_batchnorm(model).eval()


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(model: nn.Module, height: int, width: int) -> dict[str, int]:
    """Multiply-adds of each part of a segmentor for one picture."""
    counts = {}
    # Plain matrix products for the attention: older counters do not know every fused kernel.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FakeTensorMode(allow_non_fake_inputs=True):
        values: Any = torch.empty(1, 3, height, width)
        for part in PARTS:
            with FlopCounterMode(display=False) as counter:
                values = getattr(model, part)(values)
            counts[part] = counter.get_total_flops() // 2
    return counts


def measure(model: nn.Module, height: int, width: int, repeats: int, device: str) -> float:
    """Seconds from a normalised picture to logits, the best of several runs."""
    model = model.to(device)
    picture = torch.randn(1, 3, height, width, device=device)
    times = []
    with torch.inference_mode():
        for _ in range(1 + repeats):
            start = time.perf_counter()
            model(picture, mode='tensor')
            if picture.is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return min(times[1:])
