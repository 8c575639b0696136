"""Rounding errors of diversified attention, measured by those of its textbook form in the same dtype."""

import pytest
import torch
from torch import Tensor

from mmseg_tapadl.layers import diversified_attention
from mmseg_tapadl.layers.textbook import textbook_diversified_attention
from tests.layers.attention_inputs import all_gradients, blocks_of, random_attention_inputs

SEEDS = range(6)
SHAPE = (2, 4, 150, 130, 16)
# At the default scale entries come as near to the threshold as rounding moves them; see away_from_threshold().
THRESHOLD = 2.0


def away_from_threshold(inputs: list[Tensor], margin: float) -> bool:
    """Whether no mean attention is within ``margin`` of the threshold, relative to it.

    The similarity jumps where an entry crosses the threshold. An input on the edge would measure which side
    each form happens to round to, not how exact it is.
    """
    q, k, _ = inputs
    rows = torch.softmax(q.shape[-1] ** -0.5 * q @ k.transpose(2, 3), -1).mean(1)
    limit = THRESHOLD / k.shape[2]
    nearest = torch.cat([rows.flatten(), rows.mean(1).flatten()]).sub(limit).abs().min() / limit
    return nearest.item() > margin


def worst_errors(function, dtype: torch.dtype, margin: float) -> dict[str, float]:
    """The largest error of each result over several inputs, against float64 on the same rounded inputs."""
    worst: dict[str, float] = {}
    used = 0
    seed = 0
    while used < len(SEEDS):
        inputs = random_attention_inputs(*SHAPE, seed=seed, dtype=dtype)
        exact_inputs = [x.double() for x in inputs]
        seed += 1
        if not away_from_threshold(exact_inputs, margin):
            continue
        used += 1
        exact = all_gradients(textbook_diversified_attention, exact_inputs)
        assert exact['similarity'].min() > 0.01
        for name, value in all_gradients(function, inputs).items():
            error = (value.double() - exact[name]).abs().max().item()
            worst[name] = max(worst.get(name, 0.0), error)
    return worst


# In bfloat16 the textbook form moves every entry by a per cent: no margin keeps all on their side of the
# threshold, so both forms are measured with what crosses it.
# ``half_products`` is how a GPU takes it: bfloat16 factors, the rest in float32.
@pytest.mark.parametrize(
    ('dtype', 'margin', 'half_products'),
    [(torch.float32, 1e-6, False), (torch.bfloat16, 0.0, False), (torch.bfloat16, 0.0, True)],
)
def test_error_is_within_twice_the_textbooks(dtype, margin, half_products):
    with blocks_of(1 << 17, half_products=half_products):  # several blocks
        ours, theirs = (
            worst_errors(f, dtype, margin) for f in (diversified_attention, textbook_diversified_attention)
        )
    assert all(error > 0 for error in theirs.values())
    for name, error in theirs.items():
        assert ours[name] <= 2 * error, f'{name}: {ours[name]:.2e} against {error:.2e}'
