"""The decode head beside its concatenate form at a 1024 x 1024 picture, forward and backward."""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.harness import Bench, Workload
from benchmarks.twins import TextbookFANHead
from mmseg_tapadl.models.heads import FANHead

SIDE = 1024
LEVELS = ((128, 4), (256, 8), (448, 16), (448, 16))
"""Channels and stride of each feature of FAN-B-Hybrid."""

HEADS = {'ours': FANHead, 'concatenate': TextbookFANHead}


def build(form: str, device: torch.device) -> Callable[[], None]:
    """One forward and backward pass in training, with dropout, to fresh gradients of features and parameters."""
    torch.manual_seed(0)
    head = HEADS[form]([width for width, _ in LEVELS], num_classes=19, norm_cfg=dict(type='BN')).to(device)
    features = [
        torch.randn(1, width, SIDE // stride, SIDE // stride, device=device, requires_grad=True)
        for width, stride in LEVELS
    ]
    weight = torch.randn(1, 19, SIDE // 4, SIDE // 4, device=device)

    def run() -> None:
        head.zero_grad()
        for feature in features:
            feature.grad = None
        head(features).backward(weight)

    return run


WORKLOADS = {form: Workload(partial(build, form)) for form in HEADS}


def run(bench: Bench) -> None:
    """Records times and memory."""
    times = bench.time_by_turns(WORKLOADS, rounds=3)
    ratio = times['concatenate'].median / times['ours'].median
    bench.at_least('times faster than concatenating', ratio, 4)
    share = bench.peak('ours').bytes / bench.peak('concatenate').bytes
    bench.at_most("share of the concatenate form's memory", share, 1 / 3)
