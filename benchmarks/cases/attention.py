"""Diversified attention beside plain fused attention without ADL and the textbook form, forward and backward."""

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from benchmarks.harness import Bench, Workload
from mmseg_tapadl.layers import diversified_attention
from mmseg_tapadl.layers.textbook import textbook_diversified_attention

HEADS, CHANNELS = 8, 56


def without_adl(q, k, v):
    """Fused attention, and nothing to add to the loss."""
    return F.scaled_dot_product_attention(q, k, v), None


FORMS = {'plain': without_adl, 'ours': diversified_attention, 'textbook': textbook_diversified_attention}


def build(form: str, tokens: int, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    """One forward and backward pass with fresh gradients; q and k sharp enough for ADL to be awake."""
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(1, HEADS, tokens, CHANNELS, device=device, dtype=dtype).mul_(factor).requires_grad_()
        for factor in (2.0, 2.0, 1.0)
    )
    weight = torch.randn(1, HEADS, tokens, CHANNELS, device=device, dtype=dtype)

    def run() -> None:
        q.grad = k.grad = v.grad = None
        out, similarity = FORMS[form](q, k, v)
        if similarity is None:
            out.backward(weight)
        else:
            torch.autograd.backward([out, similarity], [weight, torch.ones_like(similarity)])

    return run


WORKLOADS = {
    f'{form}_{tokens}_{name}': Workload(partial(build, form, tokens, dtype))
    for form in FORMS
    for tokens in (1024, 4096)
    for name, dtype in (('float32', torch.float32), ('bfloat16', torch.bfloat16))
}


def run(bench: Bench) -> None:
    """Records times and memory at 1,024 and 4,096 tokens."""
    for tokens, limit in ((1024, 1.8), (4096, 1.5)):
        names = [f'{form}_{tokens}_float32' for form in FORMS]
        times = bench.time_by_turns({n: WORKLOADS[n] for n in names}, rounds=9 if tokens == 1024 else 5)
        plain, ours, textbook = (times[n].median for n in names)
        bench.at_most(f'time at {tokens} tokens, over attention without ADL', ours / plain, limit)
        bench.note(f'textbook at {tokens} tokens, over attention without ADL', f'{textbook / plain:.1f} x')
    plain_peak, our_peak, textbook_peak = (bench.peak(n).bytes for n in names)
    bench.at_most('memory at 4096 tokens, over attention without ADL', our_peak / plain_peak, 2.0)
    bench.note('textbook memory, over attention without ADL', f'{textbook_peak / plain_peak:.1f} x')
    halves = [f'{form}_4096_bfloat16' for form in ('plain', 'ours')]
    bench.time_by_turns({n: WORKLOADS[n] for n in halves}, rounds=3)
