"""Whole-picture testing at 1024 x 2048 with FAN-B-Hybrid + TAP: beside the twins with mmseg's own sliding window."""

from functools import partial

import torch

from benchmarks.harness import Bench, Workload
from benchmarks.models import build_prediction

CONFIG = 'fan_tap_cityscapes'


def build(device: torch.device, *, twin: bool):
    """Builds the prediction of one picture."""
    return build_prediction(CONFIG, device, twin=twin)


WORKLOADS = {
    'ours': Workload(partial(build, twin=False), counts_setup=True),
    'twin': Workload(partial(build, twin=True), counts_setup=True),
}


def run(bench: Bench) -> None:
    """Records times (each picture is three windows) and memory."""
    times = bench.time_by_turns(WORKLOADS, rounds=3)
    bench.at_least(
        'times faster than assembled from the twins', times['twin'].median / times['ours'].median, 3
    )
    bench.at_most('GB for a picture', bench.peak('ours').bytes / 1e9, 3)
    bench.peak('twin')
