"""Activation checkpointing (less memory, the same losses) and bfloat16 autocast (faster where the processor has it)."""

import torch

from benchmarks.cases.training_step import TAPADL, step
from benchmarks.harness import Bench

SIDE = 512
WORKLOADS = {
    'float32': step(TAPADL, SIDE),
    'float32_with_cp': step(TAPADL, SIDE, with_cp=True),
    'bfloat16': step(TAPADL, SIDE, amp=torch.bfloat16),
}


def run(bench: Bench) -> None:
    """Records times, memory and the losses of the first steps."""
    times = bench.time_by_turns(WORKLOADS, rounds=3)
    peaks = {name: bench.peak(name) for name in WORKLOADS}
    plain, checkpointed = peaks['float32'], peaks['float32_with_cp']
    bench.at_most('memory with_cp over memory without', checkpointed.bytes / plain.bytes, 1.0)
    same = plain.facts['losses'] == checkpointed.facts['losses']
    bench.note('losses of two steps with_cp', 'bit-identical' if same else 'DIFFERENT')
    bench.add_target('losses with_cp are bit-identical', float(same), 'yes', same)
    bench.at_most('time in bfloat16 over float32', times['bfloat16'].median / times['float32'].median, 1.0)
