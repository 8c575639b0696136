"""One contract for every encoder, every size and every switch: a new encoder is tested by being listed here."""

import copy

import pytest
import torch

from mmseg_tapadl.layers import AttentionWatch
from mmseg_tapadl.models.backbones import FAN_ARCHS
from tests.models.builders import TINY_ARCH, build, sharpen_attention

# Strides of the four features of each encoder.
HYBRID, PLAIN = (4, 8, 16, 16), (16, 16, 16, 16)

EVERY_SIZE = [
    pytest.param(
        dict(type='FAN', arch=arch, tap=tap), HYBRID if 'hybrid' in arch else PLAIN, id=f'FAN-{arch}-{name}'
    )
    for arch in FAN_ARCHS
    for name, tap in {'plain': None, 'tap': dict(num_branches=4)}.items()
]
TINY_PLAIN_ARCH = dict(embed_dim=32, depth=3, num_heads=4, token_indices=(0, 1, 2))
SMALL = [
    pytest.param(dict(type='FAN', arch=TINY_ARCH, tap=None), HYBRID, id='FAN-hybrid'),
    pytest.param(dict(type='FAN', arch=TINY_ARCH, tap=dict(num_branches=4)), HYBRID, id='FAN-hybrid-tap'),
    pytest.param(dict(type='FAN', arch=TINY_PLAIN_ARCH, tap=dict(num_branches=2)), PLAIN, id='FAN-conv-tap'),
]


def expected_shapes(encoder, strides, batch_size, height, width):
    return [
        (batch_size, channels, -(-height // stride), -(-width // stride))
        for channels, stride in zip(encoder.feature_channels, strides, strict=True)
    ]


@pytest.mark.parametrize(('config', 'strides'), EVERY_SIZE)
def test_every_size_gives_its_features_and_uses_every_parameter(config, strides):
    encoder = build(config)
    picture = torch.randn(1, 3, 48, 64, requires_grad=True)
    features = encoder(picture)
    assert [tuple(f.shape) for f in features] == expected_shapes(encoder, strides, 1, 48, 64)
    sum((f * torch.randn_like(f)).sum() for f in features).backward()
    unused = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert unused == []
    assert picture.grad.abs().sum() > 0


@pytest.mark.parametrize(('config', 'strides'), SMALL)
@pytest.mark.parametrize(('height', 'width'), [(64, 32), (33, 50), (17, 16), (16, 79), (1, 1)])
def test_any_picture_size(config, strides, height, width):
    encoder = build(config).eval()
    picture = torch.randn(2, 3, height, width)
    with torch.no_grad():
        features = encoder(picture)
    assert [tuple(f.shape) for f in features] == expected_shapes(encoder, strides, 2, height, width)
    # The same as padding the picture by hand and cutting the features.
    padded = torch.zeros(2, 3, -(-height // 16) * 16, -(-width // 16) * 16)
    padded[:, :, :height, :width] = picture
    with torch.no_grad():
        whole = encoder(padded)
    for feature, reference in zip(features, whole, strict=True):
        assert torch.equal(feature, reference[:, :, : feature.shape[2], : feature.shape[3]])


@pytest.mark.parametrize(('config', 'strides'), SMALL)
def test_evaluation_treats_each_picture_alone(config, strides):
    encoder = build(config).eval()
    pictures = torch.randn(3, 3, 48, 64, dtype=torch.float64)
    encoder.double()
    with torch.no_grad():
        together = encoder(pictures)
        alone = [encoder(pictures[i : i + 1]) for i in range(3)]
    for level, feature in enumerate(together):
        for i in range(3):
            torch.testing.assert_close(feature[i : i + 1], alone[i][level], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('config', 'strides'), SMALL)
def test_checkpointing_changes_no_number(config, strides):
    plain = build(dict(config, drop_path_rate=0.3))
    sharpen_attention(plain)
    saving = build(dict(config, drop_path_rate=0.3, with_cp=True))
    saving.load_state_dict(plain.state_dict())
    pictures = torch.randn(2, 3, 48, 64)
    results = []
    for encoder in (plain, saving):
        watch = AttentionWatch(encoder)
        torch.manual_seed(5)
        with watch.listening() as similarities:
            features = encoder(pictures)
        loss = sum(f.square().mean() for f in features) + torch.stack(similarities).mean()
        loss.backward()
        assert len(similarities) == 3
        results.append((loss, [p.grad for p in encoder.parameters()], list(encoder.buffers())))
    assert torch.stack(similarities).mean() > 0
    (loss_a, grads_a, buffers_a), (loss_b, grads_b, buffers_b) = results
    assert torch.equal(loss_a, loss_b)
    assert all(torch.equal(a, b) for a, b in zip(grads_a, grads_b, strict=True))
    # Running statistics counted once, although the forward pass ran twice.
    assert all(torch.equal(a, b) for a, b in zip(buffers_a, buffers_b, strict=True))


@pytest.mark.parametrize(('config', 'strides'), SMALL)
def test_state_dict_round_trip(config, strides):
    first = build(config, seed=1).eval()
    second = build(config, seed=2).eval()
    picture = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        assert not torch.equal(first(picture)[-1], second(picture)[-1])
        second.load_state_dict(copy.deepcopy(first.state_dict()), strict=True)
        for a, b in zip(first(picture), second(picture), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(('config', 'strides'), SMALL)
@pytest.mark.parametrize('out_indices', [(0,), (1,), (0, 2), (1, 2), (3,), (0, 1, 2, 3)])
def test_only_what_the_chosen_features_need_is_built(config, strides, out_indices):
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
        (dict(type='FAN', arch=TINY_ARCH, out_indices=(4,)), 'out_indices'),
        (dict(type='FAN', arch=TINY_ARCH, tap=dict(branches=4)), 'num_branches'),
        (dict(type='FAN', arch=TINY_ARCH, tap=dict(num_branches=0)), 'num_branches'),
    ],
)
def test_a_wrong_option_says_what_is_valid(config, message):
    with pytest.raises(ValueError, match=message):
        build(config)


def test_an_unknown_argument_lists_the_valid_ones():
    with pytest.raises(TypeError, match=r"drop_path'.*did you mean 'drop_path_rate'.*with_cp"):
        build(dict(type='FAN', arch=TINY_ARCH, drop_path=0.1))
