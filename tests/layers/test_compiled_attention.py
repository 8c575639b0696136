"""Blockwise attention as an operator: torch's own checks of it, and the same numbers as without a compiler."""

import pytest
import torch

from mmseg_tapadl.layers import diversified_attention
from mmseg_tapadl.layers.compiled_attention import compiled_attention
from tests.layers.attention_inputs import blocks_of, random_attention_inputs

ENTRIES, HEADS, QUERIES, KEYS = SHAPE = 2, 2, 9, 11


def learned(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


TERMS = {
    'plain': lambda: (None, None),
    'bias of heads': lambda: (learned(1, HEADS, QUERIES, KEYS), None),
    'both': lambda: (learned(1, 1, 1, KEYS), learned(*SHAPE)),
}


@pytest.mark.parametrize('terms', TERMS)
@pytest.mark.parametrize(('threshold', 'num_prefix'), [(1.2, 0), (0.8, 3), (None, 0)])
def test_torch_finds_no_fault_in_the_operator(terms, threshold, num_prefix):
    inputs = [x.requires_grad_() for x in random_attention_inputs(*SHAPE, 4, dtype=torch.float64)]
    arguments = (*inputs, *TERMS[terms](), 0.5, threshold, num_prefix)
    torch.library.opcheck(compiled_attention, arguments)


@pytest.mark.parametrize('terms', TERMS)
def test_compiled_it_is_the_same_function(terms):
    names = ('bias', 'gain')
    given = {name: x for name, x in zip(names, TERMS[terms](), strict=True) if x is not None}
    inputs = [x.requires_grad_() for x in random_attention_inputs(*SHAPE, 4, dtype=torch.float64)]
    leaves = (*inputs, *given.values())
    torch.compiler.reset()
    compiled = torch.compile(diversified_attention, backend='aot_eager', fullgraph=True)
    results = []
    for function in (compiled, diversified_attention):
        with blocks_of(1000):
            out, similarity = function(*inputs, **given, threshold=1.2, num_prefix=2)
            loss = out.square().sum() + (QUERIES * similarity).sum()
            results.append((out, similarity, *torch.autograd.grad(loss, leaves)))
    assert results[0][1].min() > 0
    for own, expected in zip(*results, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)
