"""Where a training step's time goes, part by part, and how far each is from what this machine can do.

Parts of FAN-B-Hybrid + TAP + ADL at 1024 x 1024, forward and backward, each alone. The floor of a part is the
larger of two times: its matrix operations (2 for a multiplication and an addition) over the rate of a large matrix
product, and the bytes of its input, its output and their gradients over the rate of a large copy. What a part takes
above it is elementwise work, and traffic of what lies between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import nn

from benchmarks.cases import attention, decode_head, pooling
from benchmarks.harness import Bench, Workload, timed
from mmseg_tapadl.layers import HybridEmbed
from mmseg_tapadl.layers.channel_processing import ChannelProcessing

TOKENS, GRID, DIM, HEADS, BLOCKS, SIDE = 4096, (64, 64), 448, 8, 16, 1024


def build_layer(make: Callable[[], nn.Module], shape: tuple, arguments: tuple, device: torch.device):
    """Forward and backward of a module on a random input that needs a gradient."""
    torch.manual_seed(0)
    module = make().to(device)
    x = torch.randn(shape, device=device, requires_grad=True)

    def run() -> None:
        module.zero_grad()
        x.grad = None
        y = module(x, *arguments)
        # The stem returns its features, too.
        tensors = [*y[0], y[1]] if isinstance(y, tuple) else [y]
        torch.autograd.backward(tensors, [t.detach() for t in tensors])

    return run


def gflop(products: float) -> float:
    """Forward and backward of products whose forward has so many multiplications."""
    return 3 * 2 * products / 1e9


def gbyte(inputs: float, outputs: float) -> float:
    """What float32 inputs and outputs of so many numbers move: both once forward; backward the inputs once more,
    and both gradients."""
    return 4 * (3 * inputs + 2 * outputs) / 1e9


@dataclass(frozen=True)
class Part:
    """A part of the step: how often it occurs, and its matrix operations and bytes each time in units of 1e9."""

    workload: Workload
    times: int
    gflop: float
    gbyte: float


PARTS = {
    'attention with ADL': Part(
        attention.WORKLOADS['ours_4096_float32'],
        BLOCKS,
        7 * 2 * TOKENS**2 * DIM / 1e9,
        gbyte(3 * TOKENS * DIM, TOKENS * DIM),
    ),
    'projections of attention': Part(
        Workload(partial(build_layer, partial(nn.Linear, DIM, 4 * DIM), (1, TOKENS, DIM), ())),
        BLOCKS,
        gflop(4 * TOKENS * DIM**2),
        gbyte(TOKENS * DIM, 4 * TOKENS * DIM),
    ),
    'channel processing': Part(
        Workload(
            partial(build_layer, partial(ChannelProcessing, DIM, num_heads=HEADS), (1, TOKENS, DIM), (GRID,))
        ),
        BLOCKS,
        gflop(9 * TOKENS * DIM**2),
        gbyte(TOKENS * DIM, TOKENS * DIM),
    ),
    'token-aware pooling': Part(
        pooling.WORKLOADS['ours_tokens_predicted'],
        BLOCKS,
        gflop(9 * TOKENS * DIM * 4),
        gbyte(TOKENS * DIM, TOKENS * DIM),
    ),
    'stem': Part(
        Workload(
            partial(build_layer, partial(HybridEmbed, embed_dim=DIM, depths=(3, 3)), (1, 3, SIDE, SIDE), ())
        ),
        1,
        # Each of its six ConvNeXt blocks multiplies as much: half the side, twice the width.
        gflop(6 * 2 * (SIDE // 4) ** 2 * 128 * 512),
        gbyte(3 * SIDE**2, (SIDE // 4) ** 2 * 128 + (SIDE // 8) ** 2 * 256 + TOKENS * DIM),
    ),
    'decode head': Part(
        decode_head.WORKLOADS['ours'],
        1,
        gflop(
            sum((SIDE // s) ** 2 * width * 768 for width, s in decode_head.LEVELS)
            + (SIDE // 4) ** 2 * 768 * 19
        ),
        gbyte(sum((SIDE // s) ** 2 * width for width, s in decode_head.LEVELS), (SIDE // 4) ** 2 * 19),
    ),
}
WORKLOADS = {name: part.workload for name, part in PARTS.items()}


def run(bench: Bench) -> None:
    """Records the machine's rates, then each part's time, floor and ratio."""
    rate, memory_rate = machine_rates(bench.device)
    bench.note('matrix rate', f'{rate:.0f} GFLOP/s (product of 2048 x 2048, float32)')
    bench.note('memory rate', f'{memory_rate:.0f} GB/s (copy of 256 MB, read and written)')
    total = floor_total = 0.0
    for name, part in PARTS.items():
        run_part = part.workload.build(bench.device)
        timed(run_part, bench.device)
        seconds = part.times * median(timed(run_part, bench.device) for _ in range(3))
        floor = part.times * max(part.gflop / rate, part.gbyte / memory_rate)
        total, floor_total = total + seconds, floor_total + floor
        bench.note(
            f'{name}, x {part.times}',
            f'{seconds:.2f} s; floor {floor:.2f} s; {seconds / floor:.1f} x',
            seconds=seconds,
        )
    bench.note('all parts', f'{total:.2f} s; floor {floor_total:.2f} s; {total / floor_total:.1f} x')


def machine_rates(device: torch.device) -> tuple[float, float]:
    """Best rate of a large matrix product in GFLOP/s, and of a large copy in GB/s."""
    a = torch.randn(2048, 2048, device=device)
    big = torch.zeros(64 << 20, device=device)
    target = torch.empty_like(big)
    product = min(timed(lambda: a @ a, device) for _ in range(8))
    copy = min(timed(lambda: target.copy_(big), device) for _ in range(8))
    return 2 * 2048**3 / product / 1e9, 2 * big.numel() * 4 / copy / 1e9
