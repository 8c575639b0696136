"""What only FAN has: its released sizes, its padding, and building no more than the chosen features need."""

import pytest
import torch

from mmseg_tapadl.models.backbones import FAN_ARCHS
from tests.models.builders import TINY_ARCH, build
from tests.models.encoder_cases import CASES

SMALL = [case for case in CASES if case.values[1]['type'] == 'FAN']


@pytest.mark.parametrize('tap', [None, dict(num_branches=4)], ids=['plain', 'tap'])
@pytest.mark.parametrize('arch', FAN_ARCHS)
def test_every_size_gives_its_features_and_uses_every_parameter(arch, tap):
    encoder = build(dict(type='FAN', arch=arch, tap=tap))
    picture = torch.randn(1, 3, 48, 64, requires_grad=True)
    features = encoder(picture)
    strides = (4, 8, 16, 16) if 'hybrid' in arch else (16, 16, 16, 16)
    channels = FAN_ARCHS[arch].feature_channels
    assert [tuple(f.shape) for f in features] == [
        (1, width, 48 // stride, 64 // stride) for width, stride in zip(channels, strides, strict=True)
    ]
    sum((f * torch.randn_like(f)).sum() for f in features).backward()
    unused = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert unused == []
    assert picture.grad.abs().sum() > 0


@pytest.mark.parametrize(('case', 'config'), SMALL)
@pytest.mark.parametrize(('height', 'width'), [(33, 50), (17, 16), (1, 1)])
def test_an_odd_picture_is_padded_with_zeros(case, config, height, width):
    encoder = build(config).eval()
    picture = torch.randn(2, 3, height, width)
    padded = torch.zeros(2, 3, -(-height // 16) * 16, -(-width // 16) * 16)
    padded[:, :, :height, :width] = picture
    with torch.no_grad():
        for feature, reference in zip(encoder(picture), encoder(padded), strict=True):
            assert torch.equal(feature, reference[:, :, : feature.shape[2], : feature.shape[3]])


@pytest.mark.parametrize(('case', 'config'), SMALL)
@pytest.mark.parametrize('out_indices', [(0,), (1,), (0, 2), (1, 2), (3,), (0, 1, 2, 3)])
def test_only_what_the_chosen_features_need_is_built(case, config, out_indices):
    whole = build(config)
    part = build(dict(config, out_indices=out_indices))
    extra = part.load_state_dict(whole.state_dict(), strict=False)
    assert not extra.missing_keys
    whole.eval()
    part.eval()
    picture = torch.randn(1, 3, 32, 48)
    features = part(picture)
    reference = whole(picture)
    for feature, index in zip(features, out_indices, strict=True):
        assert torch.equal(feature, reference[index])
    sum((f * torch.randn_like(f)).sum() for f in features).backward()
    assert [name for name, p in part.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='FAN', arch='huge'), 'base_hybrid'),
        (dict(type='FAN', arch=dict(TINY_ARCH, width=3)), 'embed_dim'),
        (dict(type='FAN', arch=TINY_ARCH, out_indices=(3, 1)), 'out_indices'),
        (dict(type='FAN', arch=TINY_ARCH, out_indices=(4,)), r'out_indices=\(4,\): choose from 0, 1, 2, 3'),
        (dict(type='FAN', arch=TINY_ARCH, out_indices=(1, 1)), 'out_indices'),
        (dict(type='FAN', arch=TINY_ARCH, tap=dict(branches=4)), 'num_branches'),
        (dict(type='FAN', arch=TINY_ARCH, tap=dict(num_branches=0)), 'num_branches'),
    ],
)
def test_a_wrong_option_says_what_is_valid(config, message):
    with pytest.raises(ValueError, match=message):
        build(config)


def test_an_unknown_argument_names_the_nearest():
    with pytest.raises(TypeError, match=r"drop_path'.*did you mean 'drop_path_rate'.*with_cp"):
        build(dict(type='FAN', arch=TINY_ARCH, drop_path=0.1))
