"""PAAS on any grid: against bilinear weights written out by hand, block by block, and without a large tensor."""

import pytest
import torch

from mmseg_tapadl.layers import WatchableAttention
from mmseg_tapadl.layers.position_scaling import position_gain
from mmseg_tapadl.layers.textbook import textbook_diversified_attention
from tests.layers.tensor_census import TensorCensus
from tests.references.released_rvt import bilinear


def mask(heads: int, side: int, **options) -> torch.Tensor:
    return 2 * torch.randn(heads, side**2, side**2, generator=torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize('grid', [(3, 3), (5, 7), (1, 1), (2, 9), (3, 1), (1, 3)])
def test_the_gain_is_bilinear_in_both_places(grid):
    weight = mask(2, 3, dtype=torch.float64)
    a = bilinear(grid, 3)
    expected = 1 / (1 + torch.exp(-(a @ weight @ a.T)))
    gain = position_gain(weight, grid)
    count = grid[0] * grid[1]
    for step in (1, 2, count):
        parts = [gain(slice(start, min(start + step, count))) for start in range(0, count, step)]
        torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=0, atol=1e-14)


def test_on_the_learned_grid_it_is_the_sigmoid_itself():
    weight = mask(2, 14)
    assert torch.equal(position_gain(weight, (14, 14))(slice(20, 50)), weight[:, 20:50].sigmoid())


def test_a_hand_worked_case():
    """Two places in a row on a grid of four: at 0, 1/4, 3/4 and 1 between them."""
    weight = torch.zeros(1, 4, 4, dtype=torch.float64)
    weight[0, 0] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    weight[0, 2] = weight[0, 0]
    gain = position_gain(weight, (2, 4))(slice(0, 8))
    row = torch.tensor([0.0, 0.25, 0.75, 1.0], dtype=torch.float64)
    expected = torch.sigmoid((1 - row)[:, None] * row[None, :]).repeat(2, 2)
    torch.testing.assert_close(gain[0], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize('watched', [True, False])
def test_gradients_are_exact_to_the_weights_of_the_gain_too(watched):
    grid, count = (2, 3), 6
    q, k, v = (torch.randn(2, 2, count, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    weight = mask(2, 2, dtype=torch.float64).requires_grad_()
    attention = WatchableAttention()
    attention.threshold = 1.1 if watched else None
    similarities: list = []
    attention.start_listening(similarities)

    def run(q, k, v, weight):
        similarities.clear()
        out = attention(4 * q, k, v, gain=position_gain(weight, grid))
        return (out, similarities[0]) if watched else out

    if watched:
        a = bilinear(grid, 2)
        _, expected = textbook_diversified_attention(
            4 * q, k, v, threshold=1.1, gain=(a @ weight @ a.T).sigmoid()
        )
        torch.testing.assert_close(run(q, k, v, weight)[1], expected, rtol=0, atol=1e-12)
        assert expected.max() > 0.01
    assert torch.autograd.gradcheck(run, (q, k, v, weight))


@pytest.mark.parametrize('watched', [True, False])
def test_nothing_of_tokens_by_tokens_is_made(watched):
    side = 40
    count = side * side
    q, k, v = (torch.randn(1, 3, count, 8, requires_grad=True) for _ in range(3))
    weight = mask(3, 14).requires_grad_()
    attention = WatchableAttention()
    attention.threshold = 2.0 if watched else None
    with TensorCensus() as census:
        attention(q, k, v, gain=position_gain(weight, (side, side))).sum().backward()
    assert census.largest < count * count
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize('shape', [(2, 9, 8), (2, 10, 10), (9, 9)])
def test_weights_over_no_square_grid_are_named(shape):
    with pytest.raises(ValueError, match=r'att_mask must be \(heads, S\*S, S\*S\)'):
        position_gain(torch.zeros(shape), (3, 3))
