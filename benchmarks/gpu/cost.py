"""Time and peak memory on one device: attention with and without ADL, TAP, and a stack of FAN-B blocks."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.cases.attention import build as build_attention
from benchmarks.harness import timed
from benchmarks.memory_probe import PeakMeter
from mmseg_tapadl.layers import (
    AttentionWatch,
    FANBlock,
    TokenAwareAvgPool,
    checkpoint_module,
    token_aware_avg_pool,
)
from mmseg_tapadl.layers.budget import use_budget
from mmseg_tapadl.layers.textbook import textbook_token_aware_avg_pool

FAN_B = dict(dim=448, num_heads=8, depth=16)
"""The token blocks of FAN-B-Hybrid."""

Build = Callable[[torch.device], Callable[[], Any]]


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Attributes:
        facts: What was measured, for the row.
        build: Makes the inputs on a device and returns a forward and backward pass.
        budget: Fields of the device's budget that differ meanwhile.
    """

    facts: Mapping[str, Any]
    build: Build
    budget: Mapping[str, Any] = field(default_factory=dict)


def measure_cost(device: torch.device, *, quick: bool, end: float, skipped: list[str]) -> list[dict]:
    """A row for each workload: its facts, the seconds of several runs, their median, and the peak memory of a run.

    Peak memory is what a forward and backward pass takes beyond inputs and weights.

    Args:
        device: Where to measure.
        quick: Small shapes and few runs.
        end: ``time.monotonic()`` after which nothing new begins.
        skipped: Gets the names of what was left out.
    """
    rows = []
    for workload in all_workloads(device, quick):
        name = 'cost of ' + ', '.join(f'{value}' for value in workload.facts.values())
        if time.monotonic() > end:
            skipped.append(name)
            continue
        print(name, file=sys.stderr, flush=True)
        row = {**workload.facts, **({'budget': dict(workload.budget)} if workload.budget else {})}
        try:
            row |= measured(workload, device, most_runs=2 if quick else 20)
        except torch.OutOfMemoryError:
            row['out_of_memory'] = True
        rows.append(row)
    return rows


def measured(workload: Workload, device: torch.device, *, most_runs: int) -> dict[str, Any]:
    """Seconds and peak memory of a workload, after one run that warms up; for some eight seconds at most."""
    with use_budget(device, **workload.budget):
        run = workload.build(device)
        run()
        meter = PeakMeter(device)
        seconds = [timed(run, device)]
        peak = max(0, meter.growth())  # a processor's counters lag behind by some pages
        while len(seconds) < most_runs and sum(seconds) < 8.0:
            seconds.append(timed(run, device))
    return dict(median_seconds=statistics.median(seconds), seconds=seconds, peak_bytes=peak)


def all_workloads(device: torch.device, quick: bool) -> list[Workload]:
    """Everything that is measured, in order."""
    tokens, side = (256, 16) if quick else (4096, 64)
    sizes = dict(dim=32, num_heads=4, depth=2) if quick else FAN_B
    dtypes = (
        (torch.float32, torch.bfloat16)
        if device.type == 'cpu'
        else (torch.float32, torch.float16, torch.bfloat16)
    )
    return [
        *attentions(tokens, dtypes, quick),
        *poolings(sizes['dim'], side, dtypes),
        *stacks(sizes, side, dtypes),
    ]


def attentions(tokens: int, dtypes: tuple[torch.dtype, ...], quick: bool) -> list[Workload]:
    """Fused attention, ours with ADL and the textbook form; then ours with blocks of other sizes."""

    def workload(form: str, dtype: torch.dtype, **budget: Any) -> Workload:
        facts = dict(what='attention', form=form, tokens=tokens, dtype=name_of(dtype))
        return Workload(facts, partial(build_attention, form, tokens, dtype), budget)

    forms = [workload(form, dtype) for dtype in dtypes for form in ('plain', 'ours', 'textbook')]
    megabytes = (1,) if quick else (32, 64, 256, 512)
    return forms + [
        workload('ours', dtype, attention_block_bytes=size << 20)
        for dtype in (dtypes[0], dtypes[-1])
        for size in megabytes
    ]


def poolings(dim: int, side: int, dtypes: tuple[torch.dtype, ...]) -> list[Workload]:
    """TAP by weights that are given, ours and the unfold form; then the module with its predictor."""
    return [
        Workload(
            dict(
                what='token-aware pooling', form=form, channels=dim, tokens=side * side, dtype=name_of(dtype)
            ),
            partial(build_pooling, form, dim, side, dtype),
        )
        for dtype in dtypes
        for form in ('ours', 'unfold', 'module')
    ]


def build_pooling(
    form: str, dim: int, side: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], None]:
    """Tokens lie in memory token by token (channels-last), as in an encoder."""
    torch.manual_seed(0)
    layout = torch.channels_last
    x = torch.randn(1, dim, side, side, device=device, dtype=dtype).contiguous(memory_format=layout)
    x.requires_grad_()
    weight = torch.randn_like(x)
    mixture = torch.randn(1, 4, side, side, device=device).softmax(1).to(dtype).requires_grad_()
    module = TokenAwareAvgPool(dim).to(device, dtype)
    functions = {'ours': token_aware_avg_pool, 'unfold': textbook_token_aware_avg_pool}

    def run() -> None:
        x.grad = mixture.grad = None
        module.zero_grad()
        y = module(x) if form == 'module' else functions[form](x, mixture)
        y.backward(weight)

    return run


def stacks(sizes: Mapping[str, int], side: int, dtypes: tuple[torch.dtype, ...]) -> list[Workload]:
    """A training pass through FAN blocks: without TAP and ADL, with each, kept or computed again, checkpointed."""
    forms: dict[str, tuple[dict, dict]] = {
        'without TAP and ADL': (dict(tap=False, adl=False), {}),
        'with TAP': (dict(tap=True, adl=False), {}),
        'with TAP and ADL': (dict(tap=True, adl=True), {}),
        'with TAP and ADL, hidden features kept': (dict(tap=True, adl=True), dict(recompute=False)),
        'with TAP and ADL, hidden features computed again': (dict(tap=True, adl=True), dict(recompute=True)),
        'with TAP and ADL, checkpointed': (dict(tap=True, adl=True, with_cp=True), {}),
    }
    return [
        Workload(
            dict(what='FAN blocks', form=form, **sizes, tokens=side * side, dtype=name_of(dtype)),
            partial(build_stack, sizes, side, dtype, **options),
            budget,
        )
        for dtype in dtypes
        for form, (options, budget) in forms.items()
    ]


def build_stack(
    sizes: Mapping[str, int],
    side: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    tap: bool,
    adl: bool,
    with_cp: bool = False,
) -> Callable[[], None]:
    """Weights in float32; half types by autocast, as in training."""
    torch.manual_seed(0)
    blocks = nn.ModuleList(
        FANBlock(sizes['dim'], num_heads=sizes['num_heads'], num_branches=4 if tap else None)
        for _ in range(sizes['depth'])
    ).to(device)
    tokens = torch.randn(1, side * side, sizes['dim'], device=device)
    watch = AttentionWatch(blocks) if adl else None

    def forward() -> torch.Tensor:
        x = tokens
        for block in blocks:
            x = checkpoint_module(block, x, (side, side)) if with_cp else block(x, (side, side))
        return x.float().square().mean()

    def run() -> None:
        blocks.zero_grad()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            if watch is None:
                loss = forward()
            else:
                with watch.listening() as similarities:
                    loss = forward()
                loss = loss + torch.stack(similarities).mean()
        loss.backward()

    return run


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')
