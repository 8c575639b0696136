"""Measuring: time by turns in one process, peak memory in a fresh one, and the targets beside the figures."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Workload:
    """Something to measure.

    Attributes:
        build: Makes the inputs on a device and returns what to run; each call is one run.
        counts_setup: Whether what ``build`` makes is part of the peak memory (a whole model is, a layer's
            inputs are not).
        runs: Runs in the fresh process that measures memory; a training step reaches its peak at the second.
    """

    build: Callable[[torch.device], Callable[[], Any]]
    counts_setup: bool = False
    runs: int = 1


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        if len(self.seconds) == 1:
            return f'{1e3 * self.median:,.1f} ms (1 run)'
        low, high = min(self.seconds), max(self.seconds)
        return (
            f'{1e3 * self.median:,.1f} ms ({1e3 * low:,.1f} to {1e3 * high:,.1f}, {len(self.seconds)} runs)'
        )


@dataclass(frozen=True)
class Peak:
    """Peak memory of a fresh process, and the seconds of its runs after the first."""

    bytes: int
    seconds: tuple[float, ...]
    facts: Mapping[str, Any]

    def __str__(self) -> str:
        return f'{self.bytes / 1e6:,.0f} MB'


@dataclass
class Bench:
    """What a benchmark is given: the device, how to measure, and where its figures go.

    Attributes:
        device: Where to measure.
        figures: What was measured, in order: benchmark, what, value as text.
        targets: Each target: benchmark, text, measured number, limit, whether it holds.
        growth: Points of the growth curves for the plot.
    """

    device: torch.device
    threads: int
    name: str = ''
    figures: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    growth: list[dict[str, Any]] = field(default_factory=list)
    peaks: dict[tuple[str, str], Peak] = field(default_factory=dict)

    def time_by_turns(self, workloads: Mapping[str, Workload], *, rounds: int) -> dict[str, Timing]:
        """Builds all, warms each up once, then runs them by turns, so that a busy machine disturbs all alike."""
        runs = {name: workload.build(self.device) for name, workload in workloads.items()}
        for run in runs.values():
            timed(run, self.device)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                seconds[name].append(timed(run, self.device))
        timings = {name: Timing(tuple(values)) for name, values in seconds.items()}
        for name, timing in timings.items():
            self.note(name, str(timing), seconds=list(timing.seconds))
        return timings

    def peak(self, workload: str, case: str | None = None) -> Peak:
        """Peak memory of a workload of a case (default: the running one), from a fresh process, once measured."""
        key = (case or self.name, workload)
        if key not in self.peaks:
            self.peaks[key] = peak_in_fresh_process(*key, self.device, self.threads)
            self.note(f'{workload}: peak memory', str(self.peaks[key]), bytes=self.peaks[key].bytes)
        return self.peaks[key]

    def note(self, what: str, text: str, **values: Any) -> None:
        """Records a figure."""
        self.figures.append({'benchmark': self.name, 'what': what, 'text': text, **values})
        print(f'  {what:<44} {text}', flush=True)

    def at_most(self, text: str, measured: float, limit: float) -> None:
        """Records a target that is an upper limit."""
        self.add_target(text, measured, f'at most {limit:g}', measured <= limit)

    def at_least(self, text: str, measured: float, limit: float) -> None:
        """Records a target that is a lower limit."""
        self.add_target(text, measured, f'at least {limit:g}', measured >= limit)

    def add_target(self, text: str, measured: float, limit: str, holds: bool) -> None:
        """Records a target and whether it holds."""
        self.targets.append(
            {'benchmark': self.name, 'target': text, 'measured': measured, 'limit': limit, 'holds': holds}
        )


def timed(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one run, to its end on the device."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Waits for the device; nothing on a processor."""
    if device.type == 'cuda':
        torch.cuda.synchronize()


def peak_in_fresh_process(case: str, workload: str, device: torch.device, threads: int) -> Peak:
    """Runs ``benchmarks/memory_probe.py`` and reads what it prints."""
    command = [sys.executable, str(ROOT / 'benchmarks' / 'memory_probe.py'), case, workload]
    command += ['--device', device.type, '--threads', str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f'{" ".join(command)}\n{done.stderr[-3000:]}')
    result = json.loads(done.stdout.splitlines()[-1])
    return Peak(result['bytes'], tuple(result['seconds']), result['facts'])
