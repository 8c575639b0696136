"""``tap=dict(type=...)``: what the paper compares its pooling with, in every encoder that has the pooling."""

import pytest
import torch
from mmseg.registry import MODELS
from torch.nn import functional as F

from mmseg_tapadl.layers.local_aggregation import KINDS, LocalConv, local_aggregation
from mmseg_tapadl.models.backbones.tap_option import num_tap_branches, read_tap
from mmseg_tapadl.utils.errors import InputError
from tests.models.encoder_cases import ENCODERS

CASES = [case for case in ENCODERS if 'tap' in case.supports]


def build(case, tap):
    torch.manual_seed(0)
    encoder = MODELS.build(dict(case.config, tap=tap))
    encoder.init_weights()
    return encoder


@pytest.mark.parametrize('kernel_size', [3, 5])
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_every_encoder_has_every_kind(case, kernel_size):
    plain = build(case, None)
    picture = torch.randn(2, 3, 64, 96)
    for kind in KINDS:
        encoder = build(case, dict(type=kind, kernel_size=kernel_size))
        placed = [m for m in encoder.modules() if getattr(m, 'dilation_predictor', None) is not None]
        assert len(placed) == case.num_attentions
        found, new = encoder.state_dict(), set(encoder.state_dict()) - set(plain.state_dict())
        assert set(plain.state_dict()) <= set(found)
        assert bool(new) == (kind != 'avg_pool')
        # Weights that were trained without it are taken as they are, by whatever the encoder reads files with.
        taken = plain.state_dict()
        if hasattr(encoder, 'own_weights'):
            taken = encoder.own_weights({'state_dict': taken}, 'a file')
            assert set(taken) == set(plain.state_dict())
        encoder.load_state_dict(taken, strict=False)
        with torch.no_grad():
            same = [
                torch.equal(a, b) for a, b in zip(plain.eval()(picture), encoder.eval()(picture), strict=True)
            ]
        assert all(same) == (kind != 'avg_pool'), 'convolutions start as the identity, a mean does not'
        if new:
            sum(feature.square().mean() for feature in encoder.train()(picture)).backward()
            gradients = [m.dilation_predictor.weight.grad for m in placed]
            assert all(gradient.abs().sum() > 0 for gradient in gradients)
            assert {m.dilation_predictor.weight.shape[-1] for m in placed} == {kernel_size}


@pytest.mark.parametrize('kernel_size', [3, 5])
def test_the_mean_is_the_plain_one_with_zeros_outside(kernel_size):
    x = torch.randn(2, 3, 4, 7)
    half = kernel_size // 2
    padded = F.pad(x, (half,) * 4)
    windows = [padded[..., i : i + 4, j : j + 7] for i in range(kernel_size) for j in range(kernel_size)]
    expected = sum(windows) / kernel_size**2
    torch.testing.assert_close(local_aggregation('avg_pool', 3, kernel_size=kernel_size)(x), expected)


def test_depthwise_mixes_no_channels():
    conv = local_aggregation('depthwise_conv', 4, kernel_size=3)
    assert isinstance(conv, LocalConv) and conv.weight.shape == (4, 1, 3, 3)
    assert local_aggregation('conv', 4, kernel_size=3).weight.shape == (4, 4, 3, 3)


def test_the_default_is_the_papers_pooling():
    assert read_tap(dict()) == read_tap(dict(type='tap', num_branches=4)) == ('tap', 4)
    assert read_tap(dict(type='conv')) == ('conv', 3)
    assert num_tap_branches(dict(type='conv')) is None and num_tap_branches(dict(num_branches=2)) == 2


@pytest.mark.parametrize(
    ('tap', 'words'),
    [
        (dict(type='avgpool'), "did you mean 'avg_pool'"),
        (dict(type='conv', num_branches=4), 'no option num_branches; valid: kernel_size'),
        (dict(kernel_size=3), 'no option kernel_size; valid: num_branches'),
        (dict(type='conv', kernel_size=4), 'must be odd'),
        (dict(type='conv', kernel_size=1), 'must be odd'),
        (dict(type='avg_pool', kernel_size=3.0), 'whole number'),
        (dict(num_branches=True), 'whole number'),
        (dict(type=['conv']), 'tap.type'),
    ],
)
def test_a_wrong_option_is_named(tap, words):
    with pytest.raises(InputError, match=words):
        read_tap(tap)
