"""Diversified attention beside plain fused attention without ADL and the textbook form, forward and backward.

One large attention, the same with a bias and with prefix tokens, and the many small ones of windows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.harness import Bench, Workload
from mmseg_tapadl.layers import diversified_attention
from mmseg_tapadl.layers.textbook import textbook_diversified_attention

HEADS, CHANNELS = 8, 56
WINDOWS = (1369, 3, 49, 32)
"""The windows of 7 x 7 tokens of a 256 x 256 grid, as batch entries; heads, tokens and channels of each."""


def without_adl(q: Tensor, k: Tensor, v: Tensor, **terms: Any) -> tuple[Tensor, None]:
    """Fused attention, and nothing to add to the loss."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=terms.get('bias')), None


def unfused(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, None]:
    """Attention with its N x M matrix in memory, and nothing to add to the loss."""
    return torch.softmax(q.shape[-1] ** -0.5 * q @ k.mT, -1) @ v, None


FORMS = {
    'plain': without_adl,
    'ours': diversified_attention,
    'textbook': textbook_diversified_attention,
    'unfused': unfused,
}
LARGE_FORMS = ('plain', 'ours', 'textbook')
TERMS = {
    'prefix': lambda device: dict(num_prefix=5),
    'mask': lambda device: dict(bias=torch.zeros(4096, 4096, device=device)),
    'learned_bias': lambda device: dict(bias=torch.zeros(4096, 4096, device=device, requires_grad=True)),
}


def build(
    form: str, tokens: int, dtype: torch.dtype, device: torch.device, term: str | None = None
) -> Callable[[], None]:
    """One forward and backward pass with fresh gradients, of one picture."""
    terms = TERMS[term](device) if term else {}
    return step(form, (1, HEADS, tokens, CHANNELS), dtype, device, terms)


def build_windows(form: str, device: torch.device) -> Callable[[], None]:
    """The same of the windows of one picture."""
    return step(form, WINDOWS, torch.float32, device, {})


def step(
    form: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, terms: dict[str, Any]
) -> Callable[[], None]:
    """A forward and backward pass; q and k are sharp enough for ADL to be above zero."""
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(shape, device=device, dtype=dtype).mul_(factor).requires_grad_()
        for factor in (2.0, 2.0, 1.0)
    )
    weight = torch.randn(shape, device=device, dtype=dtype)
    leaves = [q, k, v, *(x for x in terms.values() if isinstance(x, Tensor))]

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        out, similarity = FORMS[form](q, k, v, **terms)
        if similarity is None:
            out.backward(weight)
        else:
            torch.autograd.backward([out, similarity], [weight, torch.ones_like(similarity)])

    return run


WORKLOADS = {
    **{
        f'{form}_{tokens}_{name}': Workload(partial(build, form, tokens, dtype))
        for form in LARGE_FORMS
        for tokens in (1024, 4096)
        for name, dtype in (('float32', torch.float32), ('bfloat16', torch.bfloat16))
    },
    **{
        f'ours_4096_{term}': Workload(partial(build, 'ours', 4096, torch.float32, term=term))
        for term in TERMS
    },
    **{f'windows_{form}': Workload(partial(build_windows, form)) for form in FORMS},
}


def run(bench: Bench) -> None:
    """Records times and memory at 1,024 and 4,096 tokens, with bias and prefix tokens, and of windows."""
    for tokens, limit in ((1024, 1.8), (4096, 1.5)):
        names = [f'{form}_{tokens}_float32' for form in LARGE_FORMS]
        times = bench.time_by_turns({n: WORKLOADS[n] for n in names}, rounds=9 if tokens == 1024 else 5)
        plain, ours, textbook = (times[n].median for n in names)
        bench.at_most(f'time at {tokens} tokens, over attention without ADL', ours / plain, limit)
        bench.note(f'textbook at {tokens} tokens, over attention without ADL', f'{textbook / plain:.1f} x')
    plain_peak, our_peak, textbook_peak = (bench.peak(n).bytes for n in names)
    bench.at_most('memory at 4096 tokens, over attention without ADL', our_peak / plain_peak, 2.0)
    bench.note('textbook memory, over attention without ADL', f'{textbook_peak / plain_peak:.1f} x')
    halves = [f'{form}_4096_bfloat16' for form in ('plain', 'ours')]
    bench.time_by_turns({n: WORKLOADS[n] for n in halves}, rounds=3)
    names = ['ours_4096_float32', *(f'ours_4096_{term}' for term in TERMS)]
    times = bench.time_by_turns({n: WORKLOADS[n] for n in names}, rounds=3)
    for term, name in zip(TERMS, names[1:], strict=True):
        ratio = times[name].median / times[names[0]].median
        bench.at_most(f'time with {term.replace("_", " ")} at 4096 tokens, over without', ratio, 1.1)
    names = [f'windows_{form}' for form in FORMS]
    times = bench.time_by_turns({n: WORKLOADS[n] for n in names}, rounds=9)
    plain, ours, textbook, _ = (times[n].median for n in names)
    bench.at_most('time of 1,369 windows, over attention without ADL', ours / plain, 2.5)
    bench.at_most('time of 1,369 windows, over the textbook form', ours / textbook, 1.0)
    our_peak, unfused_peak = (bench.peak(f'windows_{form}').bytes for form in ('ours', 'unfused'))
    bench.at_most('memory of 1,369 windows, over unfused attention', our_peak / unfused_peak, 1.5)
