"""The fused SegFormer head against mmseg's: the same parameters, function and gradients."""

import pytest
import torch

from tests.models.builders import build

SIZES = [(24, 16), (12, 8), (6, 4), (3, 2)]
ODD_SIZES = [(25, 17), (13, 9), (7, 5), (4, 3)]
CHANNELS = [8, 16, 40, 64]


def head(kind: str, **changes):
    config = dict(
        type=kind,
        in_channels=CHANNELS,
        in_index=[0, 1, 2, 3],
        channels=32,
        num_classes=19,
        dropout_ratio=0.1,
        norm_cfg=dict(type='BN'),
    )
    return build(config | changes)


def features(sizes, channels=CHANNELS):
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn(2, width, *size, generator=generator, dtype=torch.float64)
        for width, size in zip(channels, sizes, strict=True)
    ]


@pytest.mark.parametrize('sizes', [SIZES, ODD_SIZES, [SIZES[0]] * 4])
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize(
    'options', [{}, dict(align_corners=True), dict(interpolate_mode='nearest', align_corners=None)]
)
def test_the_same_function_and_gradients(sizes, training, options):
    theirs = head('SegformerHead', **options).double().train(training)
    mine = head('FastSegformerHead', **options).double().train(training)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in theirs.state_dict().items():
            if value.is_floating_point():
                low = 0.5 if name.endswith('running_var') else -0.5
                value.copy_(torch.rand(value.shape, generator=generator, dtype=torch.float64) + low)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    results = []
    for module in (theirs, mine):
        inputs = [f.clone().requires_grad_() for f in features(sizes)]
        torch.manual_seed(1)
        logits = module(inputs)
        assert logits.shape == (2, 19, *sizes[0])
        logits.square().mean().backward()
        tensors = [
            logits,
            *(f.grad for f in inputs),
            *(p.grad for p in module.parameters()),
            *module.buffers(),
        ]
        results.append(tensors)
    for own, reference in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-9, atol=1e-11)


def test_some_of_the_levels():
    changes = dict(in_channels=CHANNELS[1:3], in_index=[1, 2])
    theirs = head('SegformerHead', **changes).double().eval()
    mine = head('FastSegformerHead', **changes).double().eval()
    mine.load_state_dict(theirs.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(mine(features(SIZES)), theirs(features(SIZES)), rtol=1e-10, atol=1e-12)


def test_an_unknown_argument_lists_the_valid_ones():
    with pytest.raises(TypeError, match=r"embed_dim'.*valid: in_channels, channels"):
        head('FastSegformerHead', embed_dim=3)
