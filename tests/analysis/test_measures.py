"""Each measure against its definition in float64, in blocks of any size, and on cases worked by hand."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mmseg_tapadl.analysis.input_store import InputStore
from mmseg_tapadl.analysis.measures import COSINE_BINS, attention_measures, attention_stability
from mmseg_tapadl.analysis.row_blocks import row_of
from mmseg_tapadl.layers.attention_watch import AttentionInputs
from tests.analysis.textbook import attention_of, textbook_measures, textbook_stability
from tests.layers.attention_inputs import blocks_of, random_attention_inputs
from tests.layers.tensor_census import TensorCensus

GRID, KEY_GRID = (4, 5), (2, 5)


def inputs_of(kind: str, seed: int = 0, dtype=torch.float64) -> AttentionInputs:
    """20 patch queries over 10 or 20 patch keys, with what the encoders have beside q and k."""
    keys = 10 if kind == 'reduced' else 20
    prefix = 3 if kind == 'prefix' else 0
    heads = 1 if kind == 'one head' else 3
    q, k, _ = random_attention_inputs(2, heads, 20 + prefix, keys + prefix, 6, seed=seed, dtype=dtype)
    generator = torch.Generator().manual_seed(9)
    bias = gain = None
    if kind == 'bias':
        bias = torch.randn(2, 1, 20, 20, generator=generator, dtype=dtype)
        bias[1, 0, :, 7] = float('-inf')
        bias[0, 0, 4] = float('-inf')  # a query without any allowed key
    if kind == 'gain':
        gain = torch.rand(3, 20, 20, generator=generator, dtype=dtype)
    if kind == 'gain by rows':
        whole = torch.rand(1, 3, 20, 20, generator=generator, dtype=dtype)
        return AttentionInputs(q, k, 0.4, None, lambda rows: whole[:, :, rows])
    return AttentionInputs(q, k, None, bias, gain, prefix)


KINDS = ['plain', 'one head', 'reduced', 'prefix', 'bias', 'gain', 'gain by rows']


def places_on(grid: tuple[int, int], stride: tuple[int, int]) -> list[tuple[float, float]]:
    return [
        ((y + 0.5) * stride[0], (x + 0.5) * stride[1])
        for y, x in itertools.product(range(grid[0]), range(grid[1]))
    ]


@pytest.mark.parametrize('num_bytes', [1, 3000, 1 << 20])
@pytest.mark.parametrize('kind', KINDS)
def test_every_measure_is_its_definition(kind, num_bytes):
    inputs = inputs_of(kind)
    queries, keys = places_on(GRID, (8, 8)), places_on(KEY_GRID if kind == 'reduced' else GRID, (8, 8))
    expected = textbook_measures(inputs, places=[(queries, keys)] * 2, threshold=1.5)
    with blocks_of(num_bytes):
        found = attention_measures(
            inputs,
            threshold=1.5,
            query_centres=torch.tensor([queries]),
            key_centres=torch.tensor([keys]),
        )
    assert expected['similarity'].min() > 0.05 and expected['concentration'].min() > 0
    for name in vars(found):
        if name in expected:
            assert_close(getattr(found, name).double(), expected[name], rtol=1e-10, atol=1e-10, msg=name)
        else:
            assert getattr(found, name).isnan().all(), name


@pytest.mark.parametrize('num_bytes', [1, 3000, 1 << 20])
@pytest.mark.parametrize('kind', KINDS)
def test_stability_is_its_definition(kind, num_bytes):
    clean, corrupted = inputs_of(kind), inputs_of(kind, seed=1)
    expected = textbook_stability(clean, corrupted)
    with blocks_of(num_bytes):
        found = attention_stability(clean, corrupted)
    for name, value in expected.items():
        assert_close(getattr(found, name), value, rtol=1e-10, atol=1e-10, msg=name)
    assert found.counts.sum(1).tolist() == [20, 20]


def test_what_is_compared_with_itself_is_stable():
    inputs = inputs_of('prefix')
    found = attention_stability(inputs, inputs)
    assert_close(found.row_cosine, torch.ones(2, dtype=torch.float64))
    assert_close(found.flattened_cosine, torch.ones(2, dtype=torch.float64))
    assert found.counts[:, COSINE_BINS - 1].tolist() == [20, 20]


def test_all_look_at_one_key():
    q = torch.zeros(1, 2, 4, 2)
    q[..., 0] = 1e3
    k = torch.zeros(1, 2, 4, 2)
    k[:, :, 1, 0] = 1.0
    centres = torch.tensor([[[0.5, 0.5], [0.5, 1.5], [0.5, 2.5], [0.5, 3.5]]])
    found = attention_measures(AttentionInputs(q, k), query_centres=centres, key_centres=centres)
    assert_close(found.similarity, torch.tensor([1.0]))
    assert_close(found.concentration.item(), 0.25)
    assert_close(found.entropy, torch.zeros(1, 2, dtype=torch.float64))
    assert_close(found.top_mass.item(), 1.0)
    assert_close(found.head_similarity.item(), 1.0)
    assert_close(found.attention_distance, torch.ones(1, 2, dtype=torch.float64))  # (1 + 0 + 1 + 2) / 4


def test_each_looks_at_itself_or_everywhere():
    q = 60 * torch.eye(4)[None, None].repeat(1, 2, 1, 1)
    q[:, 1] = 0
    k = torch.eye(4)[None, None].repeat(1, 2, 1, 1)
    found = attention_measures(AttentionInputs(q, k, scale=1.0))
    assert found.similarity.item() == 0  # the mean row is even, so nothing in it is above twice its part
    assert_close(found.entropy, torch.tensor([[0.0, 1.0]], dtype=torch.float64), atol=1e-6, rtol=0)
    assert_close(found.head_similarity.item(), 0.5)  # 4 x 1/4 over |I| = 2 and |E| = 1
    assert found.attention_distance.isnan().all()


def test_windows_have_places_of_their_own():
    inputs = inputs_of('plain')
    near, far = places_on(GRID, (8, 8)), places_on(GRID, (16, 8))
    expected = textbook_measures(inputs, places=[(near, near), (far, far)])['attention_distance']
    centres = torch.tensor([near, far])
    with blocks_of(1 << 20):
        found = attention_measures(inputs, query_centres=centres, key_centres=centres)
    assert_close(found.attention_distance, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('kind', KINDS)
def test_one_row_is_that_of_the_whole(kind):
    inputs = inputs_of(kind)
    expected = attention_of(inputs)
    for entry, query in ((0, 0), (1, 13), (0, 4)):
        assert_close(row_of(inputs, entry, query), expected[entry, :, query + inputs.num_prefix])


def test_half_precision_is_summed_in_single():
    inputs = inputs_of('plain', dtype=torch.bfloat16)
    expected = textbook_measures(inputs)
    found = attention_measures(inputs)
    assert found.similarity.dtype == torch.float32
    assert_close(found.entropy, expected['entropy'], rtol=2e-2, atol=2e-2)


def test_nothing_of_queries_by_keys_is_held():
    q, k, _ = random_attention_inputs(1, 2, 1500, 1024, 2)
    inputs = AttentionInputs(q, k, None, None, lambda rows: torch.ones(1, 1, rows.stop - rows.start, 1))
    centres = torch.rand(1, 1500, 2), torch.rand(1, 1024, 2)
    with TensorCensus() as census, blocks_of(1 << 20):
        attention_measures(inputs, query_centres=centres[0], key_centres=centres[1])
        attention_stability(inputs, inputs)
    assert census.largest < 1500 * 1024 / 4


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(threshold=0.0), 'threshold must be above 0 and finite, got 0.0'),
        (dict(threshold=float('nan')), 'threshold must be above 0'),
        (
            dict(query_centres=torch.zeros(1, 19, 2), key_centres=torch.zeros(1, 20, 2)),
            r'query_centres must be \(windows, 20, 2\)',
        ),
        (
            dict(query_centres=torch.zeros(1, 20, 2), key_centres=torch.zeros(3, 20, 2)),
            r'key_centres must be .* a divisor of 2, got \(3, 20, 2\)',
        ),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        attention_measures(inputs_of('plain'), **arguments)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize('memory', [0, 5000, 1 << 20])
def test_what_is_kept_comes_back_bit_for_bit(dtype, memory):
    store = InputStore(memory_bytes=memory)
    given = {kind: inputs_of(kind, dtype=dtype) for kind in ('plain', 'reduced', 'bias')}
    for kind, inputs in given.items():
        # As of an encoder: part of a joint projection, which is not kept along.
        joint = torch.cat((inputs.q, inputs.q), dim=-1)[..., : inputs.q.shape[-1]]
        store.keep(kind, replace(inputs, q=joint))
    for kind, inputs in given.items():
        found = store.get(kind)
        assert torch.equal(found.q, inputs.q) and torch.equal(found.k, inputs.k)
        assert found.q.dtype == dtype and found.bias is inputs.bias
        assert found.q.untyped_storage().nbytes() == inputs.q.nbytes


def test_attentions_of_other_shapes_are_not_compared():
    with pytest.raises(ValueError, match='cannot be compared'):
        attention_stability(inputs_of('plain'), inputs_of('reduced'))
