"""Every encoder is heard, in the order of its forward pass, computes what it computed, and is left as it was."""

import itertools

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmseg_tapadl.analysis.listener import AttentionListener
from mmseg_tapadl.analysis.measures import attention_measures, attention_stability
from mmseg_tapadl.analysis.recorded_attention import at_picture_size, record_attention
from mmseg_tapadl.analysis.token_places import guessed_grid
from mmseg_tapadl.layers import AttentionGrid, WatchableAttention
from mmseg_tapadl.utils import InputError
from tests.analysis.textbook import attention_of, textbook_measures, textbook_stability
from tests.models.builders import batch, build, sharpen_attention
from tests.models.encoder_cases import CASES

SIZE = (70, 116)


@pytest.fixture(params=[pytest.param(case.values[1], id=case.id) for case in CASES])
def encoder(request):
    """Each encoder, with and without TAP, in float64 and with sharp attention."""
    made = build(dict(request.param)).eval()
    sharpen_attention(made)
    return made.double()


def picture(seed: int = 1) -> torch.Tensor:
    return batch(1, *SIZE, seed=seed)[0].double()


def hooks_of(model: nn.Module) -> list[int]:
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


def test_it_computes_what_it_computed_and_nothing_stays(encoder):
    before = hooks_of(encoder)
    with torch.no_grad():
        expected = encoder(picture())
        heard = []
        with AttentionListener(encoder, heard.append).listening():
            found = encoder(picture())
        again = encoder(picture())
    for features in (found, again):
        assert all(torch.equal(a, b) for a, b in zip(features, expected, strict=True))
    assert [one.number for one in heard] == list(range(len(heard)))
    assert len(heard) == sum(isinstance(m, WatchableAttention) for m in encoder.modules())
    assert hooks_of(encoder) == before
    has_tap = any('dilation_predictor' in name for name, _ in encoder.named_modules())
    assert all((one.branch_weights is not None) == has_tap for one in heard)


def test_an_error_leaves_nothing_either(encoder):
    before = hooks_of(encoder)

    def fail(heard):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), AttentionListener(encoder, fail).listening():
        encoder(picture())
    assert hooks_of(encoder) == before
    encoder(picture())


def test_every_measure_of_every_encoder_is_its_definition(encoder):
    layers, others = (record_attention(encoder, picture(seed)) for seed in (1, 2))
    for layer, other in zip(layers, others, strict=True):
        places, inputs = layer.places, layer.inputs
        assert places is not None, layer.name
        centres = places.query_centres(), places.key_centres()
        lists = [[window.tolist() for window in of] for of in centres]
        pairs = list(zip(*lists, strict=True)) * (inputs.q.shape[0] // places.windows)
        expected = textbook_measures(inputs, places=pairs)
        found = attention_measures(inputs, query_centres=centres[0], key_centres=centres[1])
        for name, value in expected.items():
            assert_close(
                getattr(found, name).double(), value, rtol=1e-10, atol=1e-10, msg=f'{layer.name} {name}'
            )
        stable = attention_stability(inputs, other.inputs)
        for name, value in textbook_stability(inputs, other.inputs).items():
            assert_close(getattr(stable, name), value, rtol=1e-10, atol=1e-10, msg=f'{layer.name} {name}')


def test_the_look_of_a_point_is_its_row(encoder):
    for layer in record_attention(encoder, picture()):
        entry, query = layer.places.query_at(100, 66)
        row = attention_of(layer.inputs)[entry, :, query + layer.inputs.num_prefix, layer.inputs.num_prefix :]
        looks = layer.looks(100, 66)
        centre = layer.places.query_centres()[entry, query]
        assert max(abs(centre[0] - 66), abs(centre[1] - 100)) <= layer.places.query_stride / 2 + 1
        assert_close(looks.sum((1, 2)), row.sum(1) * row.shape[1])
        assert_close(looks.mean(0), layer.look(100, 66))
        large = layer.at_picture_size(looks)
        assert large.shape[1:] == SIZE
        # The key whose cell holds a pixel gives that pixel its value.
        key = row[0].argmax()
        y, x = (int(c) for c in layer.places.key_centres()[entry, key])
        if y < SIZE[0] and x < SIZE[1]:
            assert_close(large[0, y, x], row[0, key] * row.shape[1])


def test_shifted_windows_lie_where_their_tokens_came_from():
    encoder = build(
        dict(
            type='TAPSwin',
            arch=dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), window_size=4),
            out_indices=(0, 1),
        )
    ).eval()
    places = record_attention(encoder, picture().float())[1].places
    side = places.query_grid
    assert side == (20, 32) and places.query_stride == 4 and places.windows == 40
    # Tokens that tell their own place, as the attention within windows gets them.
    own = torch.arange(side[0] * side[1], dtype=torch.float32).view(1, -1, 1).expand(-1, -1, 8)
    seen = []
    shifted = encoder.stages[0].blocks[1].attn
    shifted.w_msa.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        shifted(own, side)
    assert torch.equal(seen[0][..., 0].long(), places.query_cells)


def test_the_attention_of_another_encoder_is_found_by_its_numbers():
    assert guessed_grid((64, 96), 24, 24) == AttentionGrid(stride=16)
    assert guessed_grid((60, 92), 24, 24) == AttentionGrid(stride=16)
    assert guessed_grid((60, 92), 24, 6) == AttentionGrid(stride=16, key_ratio=2)
    assert guessed_grid((60, 92), 23, 23) is None
    assert guessed_grid((60, 92), 24, 5) is None


def test_attention_in_another_order_and_twice_is_numbered_as_it_is_passed():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.last, self.first = (WatchableAttention() for _ in range(3))

        def forward(self, x):
            tokens = x.flatten(2).mT[:, None]
            for core in (self.first, self.last, self.first):
                tokens = tokens + core(tokens, tokens, tokens)
            return tokens

    found = record_attention(Odd(), torch.randn(1, 3, 4, 5))
    assert [(layer.number, layer.name) for layer in found] == [(0, 'first'), (1, 'last'), (2, 'first')]
    with pytest.raises(InputError, match='layer 3: the picture passes 3 attentions of Odd, numbered 0 to 2'):
        record_attention(Odd(), torch.randn(1, 3, 4, 5), layers=[3])


def test_cells_are_enlarged_to_the_picture():
    cells = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert at_picture_size(cells, 2, (3, 4)).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]
    # Reduced keys leave out a cut-off cell at the edge.
    assert at_picture_size(cells, 1, (3, 3)).tolist() == [[1, 2, 2], [3, 4, 4], [3, 4, 4]]


@pytest.mark.parametrize(('x', 'y'), [(-1, 0), (0, -0.5), (116, 0), (0, 70), (float('nan'), 0)])
def test_a_point_outside_and_a_head_that_there_is_not(x, y):
    (layer, *_) = record_attention(build(dict(CASES[0].values[1])).eval(), picture().float())
    with pytest.raises(InputError, match='lies outside the picture: x must be from 0 to 115, y from 0 to 69'):
        layer.look(x, y)
    for head in (4, -1):
        with pytest.raises(InputError, match=f'head {head}: layer 0 has 4 heads, 0 to 3'):
            layer.look(0, 0, head)


def test_windows_are_places_too():
    places = AttentionGrid(stride=4, window_size=2, shift=1)
    from mmseg_tapadl.analysis.token_places import places_in_windows

    found = places_in_windows(places, (16, 16), queries=4, keys=4, windows=4)
    assert found.query_cells.tolist() == [[5, 6, 9, 10], [7, 4, 11, 8], [13, 14, 1, 2], [15, 12, 3, 0]]
    assert list(itertools.chain(*found.query_cells.tolist())) != sorted(range(16))
