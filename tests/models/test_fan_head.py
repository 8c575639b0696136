"""The released decode head against the form that its formula has on paper."""

import pytest
import torch
from torch.nn import functional as F

from tests.models.builders import build

CHANNELS = (8, 12, 16, 16)


def head_config(**changes):
    return (
        dict(
            type='FANHead',
            in_channels=CHANNELS,
            channels=24,
            num_classes=5,
            dropout_ratio=0.0,
            norm_cfg=dict(type='BN'),
        )
        | changes
    )


def textbook_head(head, features):
    """Project, upsample, concatenate levels 4, 3, 2, 1, fuse, norm, ReLU, classify: as the release does."""
    size = features[0].shape[2:]
    projections = [head.linear_c1, head.linear_c2, head.linear_c3, head.linear_c4]
    upsampled = []
    for feature, projection in zip(features, projections, strict=True):
        x = projection.proj(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        upsampled.append(F.interpolate(x, size=size, mode='bilinear', align_corners=False))
    fused = F.conv2d(torch.cat(upsampled[::-1], dim=1), head.linear_fuse.conv.weight)
    return head.conv_seg(F.relu(head.linear_fuse.bn(fused)))


@pytest.mark.parametrize(
    'sizes', [((20, 28), (10, 14), (5, 7), (5, 7)), ((9, 7), (5, 4), (3, 2), (3, 2)), ((6, 6),) * 4]
)
@pytest.mark.parametrize('training', [False, True])
def test_equals_the_concatenate_form(sizes, training):
    head = build(head_config()).double().train(training)
    with torch.no_grad():
        head.linear_fuse.bn.running_mean.normal_()
    features = [
        torch.randn(2, c, *s, dtype=torch.float64, requires_grad=True)
        for c, s in zip(CHANNELS, sizes, strict=True)
    ]
    direction = torch.randn(2, 5, *sizes[0], dtype=torch.float64)
    results = []
    for forward in (head, lambda f: textbook_head(head, f)):
        head.zero_grad()
        for feature in features:
            feature.grad = None
        logits = forward(features)
        (logits * direction).sum().backward()
        results.append(
            [logits.detach(), *(f.grad for f in features), *(p.grad.clone() for p in head.parameters())]
        )
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-9)


def test_has_no_parameter_that_never_reaches_a_logit():
    head = build(head_config())
    head([torch.randn(2, c, 8, 8) for c in CHANNELS]).square().sum().backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []


def test_keeps_the_released_names():
    names = {name.rsplit('.', 1)[0] for name in build(head_config()).state_dict()}
    assert names == {
        'conv_seg',
        'linear_c1.proj',
        'linear_c2.proj',
        'linear_c3.proj',
        'linear_c4.proj',
        'linear_fuse.conv',
        'linear_fuse.bn',
    }


def test_wrong_options():
    with pytest.raises(ValueError, match='four levels'):
        build(head_config(in_channels=(8, 8, 8), in_index=(0, 1, 2)))
    with pytest.raises(TypeError, match=r"channel'.*did you mean 'channels'.*num_classes"):
        build(head_config(channel=3))
