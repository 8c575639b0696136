"""Bias, gain and prefix tokens of diversified attention, and many small attentions: against the textbook form."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmseg_tapadl.layers import WatchableAttention, diversified_attention
from mmseg_tapadl.layers.budget import use_budget
from mmseg_tapadl.layers.textbook import textbook_diversified_attention
from tests.device import DEVICE, DEVICE_TYPE
from tests.layers.attention_inputs import blocks_of, random_attention_inputs

ENTRIES, HEADS, QUERIES, KEYS, CHANNELS = SHAPE = 3, 2, 23, 17, 4
FULL = (ENTRIES, HEADS, QUERIES, KEYS)
BLOCKS = {
    'a row of an entry': dict(num_bytes=1),
    'some rows': dict(num_bytes=1000),
    'some rows of all heads': dict(num_bytes=1000, attention_heads_per_thread=None),
    'an entry': dict(num_bytes=8000),
    'two entries': dict(num_bytes=14000),
    'all': dict(num_bytes=1 << 20),
}


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def masked(shape, value=float('-inf'), seed=3):
    """A mask that forbids about a third of the keys, and all keys of the queries 5 and 6."""
    mask = torch.where(normal(*shape, seed=seed) > 0.4, torch.tensor(value).double(), 0.0)
    if shape[-2] > 1:
        mask[..., 5:7, :] = value
    return mask


def run(function, inputs, terms, weight_of_similarity=1.0, **arguments):
    """The two results and the gradients of all inputs and terms that ask for one, of both results together."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    terms = {name: x.detach().clone().requires_grad_(x.requires_grad) for name, x in terms.items()}
    out, similarity = function(*leaves, **terms, **arguments)
    weight = normal(*out.shape, seed=7)
    entry_weight = weight_of_similarity * out.shape[2] * torch.linspace(1, 2, len(similarity)).double()
    ((out * weight).sum() + (similarity * entry_weight).sum()).backward()
    return [
        out.detach(),
        similarity.detach(),
        *(x.grad for x in (*leaves, *terms.values()) if x.requires_grad),
    ]


def assert_equals_the_textbook(inputs, terms, **arguments):
    ours, theirs = (
        run(f, inputs, terms, **arguments) for f in (diversified_attention, textbook_diversified_attention)
    )
    assert theirs[1].max() > 0.01, 'the inputs must be sharp enough for a similarity above 0'
    assert all(x.isfinite().all() for x in theirs)
    for own, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)


TERMS = {
    'full bias': lambda: dict(bias=normal(*FULL).requires_grad_()),
    'bias of heads': lambda: dict(bias=normal(1, HEADS, QUERIES, KEYS).requires_grad_()),
    'bias of keys': lambda: dict(bias=normal(KEYS).requires_grad_()),
    'bias of queries': lambda: dict(bias=normal(HEADS, QUERIES, 1).requires_grad_()),
    'bias of entries': lambda: dict(bias=normal(ENTRIES, 1, 1, KEYS).requires_grad_()),
    'one number': lambda: dict(bias=normal().requires_grad_()),
    'mask': lambda: dict(bias=masked((QUERIES, KEYS))),
    'mask of entries': lambda: dict(bias=masked((ENTRIES, 1, QUERIES, KEYS))),
    'large negative mask': lambda: dict(bias=masked((ENTRIES, 1, QUERIES, KEYS), -100.0)),
    'lowest mask': lambda: dict(bias=masked((QUERIES, KEYS), torch.finfo(torch.float32).min)),
    'an entry without any key': lambda: dict(
        bias=torch.tensor([0.0, float('-inf'), 0.0]).double()[:, None, None, None]
    ),
    'learned bias with mask': lambda: dict(bias=(normal(*FULL) + masked(FULL)).requires_grad_()),
    'full gain': lambda: dict(gain=normal(*FULL).requires_grad_()),
    'gain of heads': lambda: dict(gain=normal(1, HEADS, QUERIES, KEYS).sigmoid().requires_grad_()),
    'gain of queries': lambda: dict(gain=normal(QUERIES, 1).requires_grad_()),
    'constant gain': lambda: dict(gain=normal(KEYS)),
    'both': lambda: dict(
        bias=(normal(HEADS, QUERIES, KEYS) + masked((QUERIES, KEYS))).requires_grad_(),
        gain=normal(1, HEADS, QUERIES, KEYS, seed=1).requires_grad_(),
    ),
}


@pytest.mark.parametrize('block', BLOCKS)
@pytest.mark.parametrize('terms', TERMS)
def test_bias_and_gain_equal_the_textbook(terms, block):
    inputs = random_attention_inputs(*SHAPE, dtype=torch.float64)
    with blocks_of(**BLOCKS[block]):
        assert_equals_the_textbook(inputs, TERMS[terms](), threshold=1.5)


@pytest.mark.parametrize('block', BLOCKS)
@pytest.mark.parametrize('num_prefix', [1, 5, 12])
@pytest.mark.parametrize('terms', [None, 'both'])
def test_prefix_tokens_equal_the_textbook(num_prefix, terms, block):
    inputs = random_attention_inputs(*SHAPE, dtype=torch.float64)
    with blocks_of(**BLOCKS[block]):
        assert_equals_the_textbook(
            inputs, TERMS[terms]() if terms else {}, num_prefix=num_prefix, threshold=0.5
        )


def test_prefix_tokens_by_their_definition():
    q, k, v = random_attention_inputs(*SHAPE, dtype=torch.float64)
    out, similarity = diversified_attention(q, k, v, num_prefix=3, threshold=1.5)
    plain, _ = diversified_attention(q, k, v)
    assert torch.equal(out, plain)
    rows = torch.softmax(CHANNELS**-0.5 * q @ k.mT, -1).mean(1)[:, 3:, 3:]
    kept = F.threshold(rows, 1.5 / 14, 0.0)
    mean = F.threshold(rows.mean(1, keepdim=True), 1.5 / 14, 0.0)
    torch.testing.assert_close(similarity, F.cosine_similarity(kept, mean, dim=-1).mean(1))


def test_a_mask_is_as_leaving_the_keys_out():
    q, k, v = random_attention_inputs(*SHAPE, dtype=torch.float64)
    bias = torch.zeros(KEYS).double()
    bias[12:] = float('-inf')
    out, similarity = diversified_attention(q, k, v, bias=bias, threshold=1.5)
    # tau / M keeps the full M; that of the shorter attention is made to agree.
    expected = diversified_attention(q, k[:, :, :12], v[:, :, :12], threshold=1.5 * 12 / KEYS)
    torch.testing.assert_close((out, similarity), expected)


def test_a_query_without_keys_gives_zeros_and_counts_with_cosine_zero():
    q, k, v = random_attention_inputs(*SHAPE, dtype=torch.float64)
    bias = torch.zeros(QUERIES, 1).double()
    bias[4:] = float('-inf')
    out, similarity = diversified_attention(q, k, v, bias=bias, threshold=0.1)
    assert out[:, :, 4:].abs().max() == 0
    mean = torch.softmax(CHANNELS**-0.5 * q[:, :, :4] @ k.mT, -1).mean(1)
    cosine = F.cosine_similarity(
        F.threshold(mean, 0.1 / KEYS, 0.0),
        F.threshold(mean.sum(1, keepdim=True) / QUERIES, 0.1 / KEYS, 0.0),
        dim=-1,
    )
    torch.testing.assert_close(similarity, cosine.sum(1) / QUERIES)


def gain_module():
    torch.manual_seed(0)
    return PositionGain()


class PositionGain(nn.Module):
    """A gain sigmoid(A W A^T) with one learned W a head, evaluated for the rows that are asked for."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(normal(HEADS, 5, 5))
        self.unused = nn.Parameter(normal(1))
        self.register_buffer('rows_of', normal(QUERIES, 5, seed=2))
        self.register_buffer('keys_of', normal(KEYS, 5, seed=3))
        self.calls = []

    def forward(self, rows):
        self.calls.append((rows, torch.is_grad_enabled()))
        return (self.rows_of[rows] @ self.weight @ self.keys_of.mT).sigmoid()[None]


@pytest.mark.parametrize('block', BLOCKS)
@pytest.mark.parametrize('bias', [False, True])
def test_a_gain_by_rows_equals_the_textbook(block, bias):
    inputs = random_attention_inputs(*SHAPE, dtype=torch.float64)
    terms = TERMS['learned bias with mask']() if bias else {}
    results = []
    for function in (diversified_attention, textbook_diversified_attention):
        gain = gain_module()
        with blocks_of(**BLOCKS[block]):
            results.append([*run(function, inputs, terms, gain=gain, threshold=1.5), gain.weight.grad])
        assert gain.unused.grad is None
    for own, expected in zip(*results, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)
    assert results[1][-1].abs().max() > 0


def test_a_gain_by_rows_is_never_asked_for_more_than_a_block():
    gain = gain_module()
    inputs = [x.requires_grad_() for x in random_attention_inputs(*SHAPE, dtype=torch.float64)]
    with blocks_of(3 * 8 * HEADS * KEYS):
        out, similarity = diversified_attention(*inputs, gain=gain)
        (out.sum() + similarity.sum()).backward()
    assert max(rows.stop - rows.start for rows, _ in gain.calls) == 3


def test_a_gain_by_rows_may_be_any_function():
    inputs = random_attention_inputs(*SHAPE, dtype=torch.float64)
    weight = normal(QUERIES).requires_grad_()
    fixed = normal(ENTRIES, 1, QUERIES, 1)
    with blocks_of(1000):
        out, similarity = diversified_attention(
            *inputs, gain=lambda rows: weight[None, None, rows, None] * fixed[:, :, rows]
        )
    (out.square().sum() + similarity.sum()).backward()
    own, weight.grad = weight.grad, None
    out, similarity = textbook_diversified_attention(*inputs, gain=weight[:, None] * fixed)
    (out.square().sum() + similarity.sum()).backward()
    torch.testing.assert_close(own, weight.grad, rtol=1e-10, atol=1e-10)


def test_a_gain_by_rows_may_be_a_part_of_what_was_computed_before():
    inputs = random_attention_inputs(*SHAPE, dtype=torch.float64)
    weight = normal(HEADS, QUERIES, KEYS).requires_grad_()
    grads = []
    for by_rows in (True, False):
        gain = weight.sigmoid()[None]  # its graph is that of every block
        function = (lambda rows, gain=gain: gain[:, :, rows]) if by_rows else gain
        with blocks_of(1000):
            out, similarity = diversified_attention(*inputs, gain=function)
            (out.square().sum() + similarity.sum() + gain.sum()).backward()
        grads.append(weight.grad)
        weight.grad = None
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('first_learns', [True, False])
def test_a_gain_by_rows_of_parameters_that_the_first_rows_do_not_know_is_refused(first_learns):
    inputs = random_attention_inputs(*SHAPE, dtype=torch.float64)
    weights = [normal(KEYS).requires_grad_(first_learns or i > 9) for i in range(QUERIES)]
    with blocks_of(1000):
        out, _ = diversified_attention(
            *(x.requires_grad_() for x in inputs), gain=lambda rows: torch.stack(weights[rows])
        )
        with pytest.raises(
            ValueError, match=r'^gain\(rows\) of queries \d+ to \d+ depends on parameters that the first'
        ):
            out.sum().backward()


def test_a_gain_by_rows_in_a_checkpointed_and_copied_module():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = gain_module()

        def forward(self, q, k, v):
            return diversified_attention(q, k, v, gain=self.gain)

    inputs = random_attention_inputs(*SHAPE, dtype=torch.float64)
    layer = Layer()
    duplicate = copy.deepcopy(layer)
    plain = run(layer, inputs, {})
    again = run(lambda *x: checkpoint(duplicate, *x, use_reentrant=False), inputs, {})
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert torch.equal(layer.gain.weight.grad, duplicate.gain.weight.grad)


@pytest.mark.parametrize('case', ['bias', 'masked bias', 'gain', 'gain by rows', 'prefix'])
def test_gradcheck(case):
    q, k, v = random_attention_inputs(2, 2, 5, 4, 3, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (q, k, v)]
    term = normal(2, 5, 4).requires_grad_()
    mask = torch.zeros(5, 4).double()
    mask[1, 2] = mask[3] = float('-inf')
    functions = {
        'bias': lambda q, k, v, x: diversified_attention(q, k, v, bias=x, threshold=0.8),
        'masked bias': lambda q, k, v, x: diversified_attention(q, k, v, bias=x + mask, threshold=0.8),
        'gain': lambda q, k, v, x: diversified_attention(q, k, v, gain=x, threshold=1.2),
        'gain by rows': lambda q, k, v, x: diversified_attention(
            q, k, v, gain=lambda rows: x[None, :, rows].sigmoid(), threshold=1.2
        ),
        'prefix': lambda q, k, v, x: diversified_attention(q, k, v, bias=x, num_prefix=2, threshold=0.6),
    }
    with blocks_of(2 * 2 * 4 * 8):  # two queries a block
        assert functions[case](*inputs, term)[1].min() > 0
        assert torch.autograd.gradcheck(functions[case], (*inputs, term))


@pytest.mark.parametrize('needed', ['bias', 'gain', 'k'])
@pytest.mark.parametrize('output', [0, 1])
def test_gradients_for_one_input_and_one_output_only(needed, output):
    q, k, v = random_attention_inputs(*SHAPE, dtype=torch.float64)
    tensors = dict(q=q, k=k, v=v, bias=normal(QUERIES, KEYS), gain=normal(*FULL))
    tensors[needed].requires_grad_()
    grads = []
    for function in (diversified_attention, textbook_diversified_attention):
        with blocks_of(1000):
            function(**tensors, threshold=1.5)[output].square().sum().backward()
        grads.append(tensors[needed].grad)
        tensors[needed].grad = None
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('half_products', [False, True])
def test_half_types(dtype, half_products):
    inputs = random_attention_inputs(*SHAPE, dtype=dtype)
    exact = [x.double() for x in inputs]
    terms = {name: x.detach().to(dtype).requires_grad_() for name, x in TERMS['both']().items()}
    with use_budget(DEVICE, half_products=half_products):
        q, k, v = (x.requires_grad_() for x in inputs)
        out, similarity = diversified_attention(q, k, v, **terms, threshold=1.5)
    expected = textbook_diversified_attention(
        *exact, **{name: x.detach().double() for name, x in terms.items()}, threshold=1.5
    )
    assert out.dtype == dtype
    assert similarity.dtype == torch.float32
    torch.testing.assert_close(out.double(), expected[0], rtol=0.05, atol=0.05)
    torch.testing.assert_close(similarity.double(), expected[1], rtol=0.05, atol=0.02)
    (out.float().sum() + similarity.sum()).backward()
    for x in (q, k, v, *terms.values()):
        assert x.grad.dtype == dtype
        assert x.grad.isfinite().all()
        assert x.grad.abs().max() > 0


def test_autocast_leaves_bias_and_gain_as_they_are():
    q, k, v = random_attention_inputs(*SHAPE)
    bias, gain = normal(QUERIES, KEYS, dtype=torch.float32), gain_module().float()
    with torch.autocast(DEVICE_TYPE, torch.bfloat16):
        own = diversified_attention(q, k, v, bias=bias, gain=gain)
    expected = diversified_attention(*(x.bfloat16() for x in (q, k, v)), bias=bias, gain=gain)
    assert own[0].dtype == torch.bfloat16
    assert all(torch.equal(a, b) for a, b in zip(own, expected, strict=True))


def wrong(**arguments):
    q, k, v = (torch.zeros(1, 2, n, 4) for n in (5, 6, 6))
    return dict(q=q, k=k, v=v, **arguments)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (wrong(bias=torch.zeros(5, 5)), r'^bias must broadcast to .* = \(1, 2, 5, 6\), got shape \(5, 5\)'),
        (wrong(gain=torch.zeros(3, 2, 5, 6)), r'^gain must broadcast to .* \(3, 2, 5, 6\)'),
        (wrong(bias=torch.zeros(1, 1, 1, 5, 6)), r'^bias must broadcast to .* \(1, 1, 1, 5, 6\)'),
        (
            wrong(bias=torch.zeros(5, 6) > 0),
            r'^bias must be floating point, got torch.bool; a mask of allowed',
        ),
        (wrong(bias=torch.zeros(6, device='meta')), r'^bias must be on the device of q, cpu, got meta'),
        (
            wrong(gain=lambda rows: torch.zeros(1, 2, 4, 6)),
            r'^gain\(rows\) must broadcast to .* \(1, 2, 4, 6\)',
        ),
        (wrong(gain=lambda rows: 2.0), r'^gain\(rows\) must be a tensor, got float'),
        (wrong(gain=2.0), r'^gain must be a tensor or a function .*, got float'),
        (wrong(bias=2.0), r'^bias must be a tensor, got float'),
        (wrong(num_prefix=5), r'^num_prefix must be from 0 to 4, .* 5 queries and 6 keys, got 5'),
        (wrong(num_prefix=-1), r'^num_prefix must be from 0 to 4, .* got -1'),
        (wrong(num_prefix=1.0), r'^num_prefix must be from 0 to 4, .* got 1\.0'),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        diversified_attention(**arguments)


@pytest.mark.parametrize('with_bias', [True, False])
def test_exported_attention_with_a_gain_is_a_few_operations_however_many_blocks_there_are(with_bias):
    class Gained(nn.Module):
        def __init__(self):
            super().__init__()
            self.core = WatchableAttention()

        def forward(self, q, k, v, factor, bias):
            return self.core(q, k, v, gain=lambda rows: factor[:, rows], bias=bias if with_bias else None)

    inputs = tuple(
        normal(ENTRIES, HEADS, length, CHANNELS, seed=length).to(DEVICE) for length in (23, 17, 17)
    )
    terms = normal(HEADS, QUERIES, KEYS).to(DEVICE), masked((1, 1, QUERIES, KEYS)).to(DEVICE)
    model = Gained().eval()
    with torch.no_grad(), use_budget(DEVICE, attention_block_bytes=1, attention_block_rows=1):
        exported = torch.export.export(model, (*inputs, *terms))
        expected = model(*inputs, *terms)
    assert len(exported.graph.nodes) < 50
    torch.testing.assert_close(exported.module()(*inputs, *terms), expected, rtol=0, atol=1e-12)
    assert not with_bias or (expected[:, :, 5:7] == 0).all()
