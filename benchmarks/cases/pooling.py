"""Token-aware average pooling beside the unfold form, forward and backward, alone and with its predictor."""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.harness import Bench, Workload
from benchmarks.twins import TextbookTokenAwareAvgPool
from mmseg_tapadl.layers import TokenAwareAvgPool, token_aware_avg_pool
from mmseg_tapadl.layers.textbook import textbook_token_aware_avg_pool

SHAPE, BRANCHES = (1, 448, 64, 64), 4
FUNCTIONS = {'ours': token_aware_avg_pool, 'unfold': textbook_token_aware_avg_pool}
MODULES = {'ours': TokenAwareAvgPool, 'unfold': TextbookTokenAwareAvgPool}
# Tokens of an encoder lie in memory token by token (channels_last); the unfold form is fastest channel by channel.
FORMATS = {'contiguous': torch.contiguous_format, 'tokens': torch.channels_last}


def build(form: str, memory_format: str, with_predictor: bool, device: torch.device) -> Callable[[], None]:
    """One forward and backward pass with fresh gradients."""
    torch.manual_seed(0)
    layout = FORMATS[memory_format]
    x = torch.randn(SHAPE, device=device).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(SHAPE, device=device).contiguous(memory_format=layout)
    logits = torch.randn(SHAPE[0], BRANCHES, *SHAPE[2:], device=device)
    mixture = logits.softmax(1).requires_grad_()
    module = MODULES[form](SHAPE[1], BRANCHES).to(device)

    def run() -> None:
        x.grad = mixture.grad = None
        module.zero_grad()
        y = module(x) if with_predictor else FUNCTIONS[form](x, mixture)
        y.backward(weight)

    return run


WORKLOADS = {
    f'{form}_{memory_format}{"_predicted" if predicted else ""}': Workload(
        partial(build, form, memory_format, predicted)
    )
    for form in FUNCTIONS
    for memory_format in FORMATS
    for predicted in (False, True)
}


def run(bench: Bench) -> None:
    """Records times and memory, in both memory formats; the targets are on the form the unfold is fastest in."""
    times = bench.time_by_turns(WORKLOADS, rounds=7)
    for memory_format in FORMATS:
        alone, predicted = (
            times[f'unfold_{memory_format}{end}'].median / times[f'ours_{memory_format}{end}'].median
            for end in ('', '_predicted')
        )
        bench.at_least(f'times faster than unfolding ({memory_format})', alone, 12)
        bench.at_least(f'times faster with the predictor ({memory_format})', predicted, 6)
        peaks = [bench.peak(f'{form}_{memory_format}').bytes for form in ('unfold', 'ours')]
        bench.at_most(f"share of the unfold form's memory ({memory_format})", peaks[1] / peaks[0], 0.25)
