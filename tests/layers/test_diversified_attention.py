"""Diversified attention: against its textbook form, cases worked out by hand, and what must not break it."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmseg_tapadl.layers import diversified_attention
from mmseg_tapadl.layers.textbook import textbook_diversified_attention
from tests.device import DEVICE_TYPE
from tests.layers.attention_inputs import all_gradients, blocks_of, random_attention_inputs


@pytest.fixture
def small_blocks():
    """Blocks of a few queries, so that small inputs pass over many and the last is shorter."""
    with blocks_of(20_000):
        yield


@pytest.mark.parametrize(
    ('images', 'heads', 'queries', 'keys', 'channels'),
    [(1, 1, 1, 1, 1), (1, 8, 33, 33, 5), (2, 3, 217, 100, 8), (3, 2, 50, 301, 4), (1, 2, 3000, 64, 3)],
)
def test_equals_the_textbook(small_blocks, images, heads, queries, keys, channels):
    inputs = random_attention_inputs(images, heads, queries, keys, channels, dtype=torch.float64)
    ours, theirs = (all_gradients(f, inputs) for f in (diversified_attention, textbook_diversified_attention))
    if keys > 30:
        assert theirs['similarity'].min() > 0.01, 'the inputs must be sharp enough for a similarity above 0'
    for name, value in theirs.items():
        torch.testing.assert_close(
            ours[name], value, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f'{n}: {m}'
        )


@pytest.mark.parametrize('threshold', [0.5, 1.0, 3.0])
@pytest.mark.parametrize('scale', [None, 2.0])
def test_equals_the_textbook_at_other_thresholds_and_scales(small_blocks, threshold, scale):
    inputs = random_attention_inputs(2, 3, 41, 29, 6, dtype=torch.float64)
    ours, theirs = (
        all_gradients(f, inputs, threshold=threshold, scale=scale)
        for f in (diversified_attention, textbook_diversified_attention)
    )
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-10)


def test_out_is_ordinary_attention():
    q, k, v = random_attention_inputs(2, 4, 60, 70, 8, dtype=torch.float64)
    out, _ = diversified_attention(q, k, v)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v), rtol=1e-12, atol=1e-12)


def test_values_may_have_another_width():
    q, k, _ = random_attention_inputs(1, 2, 9, 11, 4, dtype=torch.float64)
    v = torch.randn(1, 2, 11, 7, dtype=torch.float64)
    out, _ = diversified_attention(q, k, v)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize(('queries', 'keys'), [(5, 7), (6, 3)])
def test_gradcheck(queries, keys):
    inputs = random_attention_inputs(2, 2, queries, keys, 3, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in inputs]
    with blocks_of(2 * 2 * keys * 8):  # two queries a block
        assert diversified_attention(*inputs, threshold=1.2)[1].min() > 0
        assert torch.autograd.gradcheck(lambda *x: diversified_attention(*x, threshold=1.2), inputs)


def attention_with_rows(rows: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q, k, v of one head whose attention is nearly these rows: keys are unit vectors, queries the logarithms."""
    logits = torch.tensor(rows, dtype=torch.float64).clamp(min=1e-12).log()
    keys = torch.eye(logits.shape[1], dtype=torch.float64)
    return logits[None, None], keys[None, None], keys[None, None]


HAND_CASES = {
    # Both rows keep the same single key (t = 1/2), as their mean does: all cosines are 1.
    'identical rows': ([[1, 0, 0, 0], [1, 0, 0, 0]], 1.0),
    # Rows (1,0,0,0) and (0,1,0,0): the mean (1/2,1/2,0,0) keeps nothing, as 1/2 is not above t = 1/2.
    'disjoint rows, mean at the limit': ([[1, 0, 0, 0], [0, 1, 0, 0]], 0.0),
    # With 8 keys t = 1/4: the mean (1/2,1/2,0,...) is kept, and has a cosine of 1/sqrt(2) with each row.
    'disjoint rows': ([[1] + [0] * 7, [0, 1] + [0] * 6], 1 / math.sqrt(2)),
    # Uniform rows: no entry is above 2/M.
    'nothing above': ([[0.25] * 4, [0.25] * 4], 0.0),
    # The second row keeps nothing (t = 1/2), so its cosine is 0. The mean (0.65, ...) keeps key 0.
    'one row keeps nothing': ([[1, 0, 0, 0], [0.3, 0.3, 0.2, 0.2]], 0.5),
    # t = 1/3. Row 0 keeps (.6,.4), row 1 keeps .8 of key 0; the mean (.7,.2,...) keeps key 0.
    'cosine below 1': ([[0.6, 0.4, 0, 0, 0, 0], [0.8, 0, 0.2, 0, 0, 0]], (0.6 / math.sqrt(0.52) + 1) / 2),
}


@pytest.mark.parametrize('function', [diversified_attention, textbook_diversified_attention])
@pytest.mark.parametrize('case', HAND_CASES)
def test_worked_out_by_hand(function, case):
    rows, expected = HAND_CASES[case]
    q, k, v = attention_with_rows(rows)
    # A hair above the limit: what lies on it in exact numbers must not be decided by rounding.
    out, similarity = function(q, k, v, scale=1.0, threshold=2.0 * (1 + 1e-9))
    torch.testing.assert_close(out[0, 0], torch.tensor(rows, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(similarity, torch.tensor([expected], dtype=torch.float64), rtol=0, atol=1e-8)


def test_an_image_of_a_batch_is_as_alone():
    q, k, v = random_attention_inputs(3, 2, 20, 25, 4, dtype=torch.float64)
    _, together = diversified_attention(q, k, v)
    alone = torch.cat([diversified_attention(q[i : i + 1], k[i : i + 1], v[i : i + 1])[1] for i in range(3)])
    assert together.shape == (3,)
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)


def test_uniform_attention_has_neither_loss_nor_gradient():
    q, k, v = (x.requires_grad_() for x in random_attention_inputs(1, 2, 30, 40, 4, sharpness=0.01))
    _, similarity = diversified_attention(q, k, v)
    similarity.sum().backward()
    assert similarity.item() == 0
    for x in (q, k, v):
        assert torch.equal(x.grad, torch.zeros_like(x))


def test_inputs_need_not_be_contiguous():
    q, k, v = random_attention_inputs(2, 3, 14, 17, 4, dtype=torch.float64)
    strided = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    assert not strided[0].is_contiguous()
    ours, theirs = (
        all_gradients(diversified_attention, strided),
        all_gradients(diversified_attention, (q, k, v)),
    )
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize('needed', [(0,), (1,), (2,), (0, 2), (1, 2)])
@pytest.mark.parametrize('output', ['out', 'similarity', 'both'])
def test_gradients_for_some_inputs_and_outputs_only(small_blocks, needed, output):
    inputs = random_attention_inputs(1, 2, 23, 31, 4, dtype=torch.float64)

    def gradients(function):
        leaves = [x.detach().clone().requires_grad_(i in needed) for i, x in enumerate(inputs)]
        out, similarity = function(*leaves)
        loss = {'out': out.square().sum(), 'similarity': similarity.sum()}
        loss['both'] = loss['out'] + 5 * loss['similarity']
        if output == 'similarity' and needed == (2,):
            # The textbook's similarity does not depend on v at all.
            assert not loss[output].requires_grad or function is diversified_attention
            return [torch.zeros_like(leaves[2])]
        loss[output].backward()
        assert all((leaf.grad is not None) <= leaf.requires_grad for leaf in leaves)
        return [torch.zeros_like(leaves[i]) if leaves[i].grad is None else leaves[i].grad for i in needed]

    for ours, theirs in zip(
        gradients(diversified_attention), gradients(textbook_diversified_attention), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_second_derivatives_are_refused():
    q, k, v = (x.requires_grad_() for x in random_attention_inputs(1, 1, 4, 4, 2))
    out, _ = diversified_attention(q, k, v)
    (grad,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


def test_checkpointing_changes_nothing():
    inputs = random_attention_inputs(1, 2, 40, 50, 4)

    def checkpointed(*args):
        return checkpoint(diversified_attention, *args, use_reentrant=False)

    plain, again = (all_gradients(f, inputs) for f in (diversified_attention, checkpointed))
    for name, value in plain.items():
        assert torch.equal(again[name], value), name


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    q, k, v = (x.requires_grad_() for x in random_attention_inputs(1, 2, 40, 50, 8))
    with torch.autocast(DEVICE_TYPE, dtype=dtype):
        out, similarity = diversified_attention(q, k.to(dtype), v)
        assert out.dtype == F.scaled_dot_product_attention(q, k, v).dtype == dtype
        assert similarity.dtype == torch.float32
    (out.float().sum() + similarity.sum()).backward()
    # Autocast must not reach the statistics: the same call on cast inputs is the same numbers.
    cast_out, cast_similarity = diversified_attention(*(x.detach().to(dtype) for x in (q, k, v)))
    assert torch.equal(out, cast_out)
    assert torch.equal(similarity, cast_similarity)
    assert q.grad.dtype == torch.float32
    assert q.grad.abs().sum() > 0


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('which', [0, 1, 2])
def test_nan_and_infinity_pass_through(bad, which):
    inputs = random_attention_inputs(2, 2, 11, 13, 4)
    inputs[which][0, 0, 3, 1] = bad
    q, k, v = (x.requires_grad_() for x in inputs)
    out, similarity = diversified_attention(q, k, v)
    (out.sum() + similarity.sum()).backward()
    expected, _ = textbook_diversified_attention(q, k, v)
    assert torch.equal(out.isfinite(), expected.isfinite())
    # The other image does not notice.
    assert out[1].isfinite().all()
    assert similarity[1].isfinite()
    assert q.grad[1].isfinite().all()


def shapes(*, q=(1, 2, 5, 4), k=(1, 2, 6, 4), v=(1, 2, 6, 4)):
    return dict(q=torch.zeros(q), k=torch.zeros(k), v=torch.zeros(v))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (shapes(q=(2, 5, 4)), r'^q must be .*\(2, 5, 4\)'),
        (shapes(k=(2, 2, 6, 4)), r'^k must agree with q .*\(2, 2, 6, 4\)'),
        (shapes(k=(1, 3, 6, 4)), r'^k must agree with q .*\(1, 3, 6, 4\)'),
        (shapes(k=(1, 2, 6, 3)), r'^k must agree with q .*\(1, 2, 6, 3\)'),
        (shapes(v=(1, 2, 7, 4)), r'^v must agree with k .*\(1, 2, 7, 4\)'),
        (shapes(q=(1, 2, 0, 4)), r'^q must have no empty axis.*\(1, 2, 0, 4\)'),
        (shapes(v=(1, 2, 6, 0)), r'^v must have no empty axis.*\(1, 2, 6, 0\)'),
        ({**shapes(), 'k': torch.zeros(1, 2, 6, 4, dtype=torch.int64)}, r'^k must be floating point.*int64'),
        ({**shapes(), 'v': torch.zeros(1, 2, 6, 4, dtype=torch.float64)}, r'^v must have the dtype.*float64'),
        ({**shapes(), 'threshold': 0.0}, r'^threshold must be above 0, got 0.0'),
        ({**shapes(), 'threshold': -2.0}, r'^threshold must be above 0, got -2.0'),
        ({**shapes(), 'threshold': float('nan')}, r'^threshold must be above 0, got nan'),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        diversified_attention(**arguments)
