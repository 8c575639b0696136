"""Fusing levels at their own resolution: against projecting, upsampling and concatenating them."""

import pytest
import torch

from mmseg_tapadl.layers import fuse_levels
from mmseg_tapadl.layers.textbook import textbook_fuse_levels
from tests.layers.tensor_census import TensorCensus, kept_for_backward, num_bytes

HYBRID = [(3, 16, 20), (4, 8, 10), (5, 4, 5), (6, 4, 5)]
PLAIN = [(5, 6, 7)] * 4
ODD = [(3, 13, 17), (4, 7, 9), (5, 4, 5), (6, 4, 5)]
WIDTH, FUSED = 40, 48  # more than one chunk of channels, the last shorter


def fusion_inputs(levels, *, memory_format=torch.contiguous_format, with_bias=True):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    features = [
        normal(2, *level).contiguous(memory_format=memory_format).requires_grad_() for level in levels
    ]
    projections = [
        (normal(WIDTH, level[0]).requires_grad_(), normal(WIDTH).requires_grad_() if with_bias else None)
        for level in levels
    ]
    return features, projections, normal(FUSED, WIDTH * len(levels), 1, 1).requires_grad_()


def leaves_of(features, projections, fuse_weight):
    return [*features, *[t for pair in projections for t in pair if t is not None], fuse_weight]


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('levels', [HYBRID, PLAIN, ODD, HYBRID[:1]], ids=['hybrid', 'plain', 'odd', 'one'])
@pytest.mark.parametrize('with_bias', [True, False])
def test_equals_the_concatenate_form(levels, memory_format, with_bias):
    inputs = fusion_inputs(levels, memory_format=memory_format, with_bias=with_bias)
    ours, theirs = fuse_levels(*inputs), textbook_fuse_levels(*inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    weight = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    our_grads, their_grads = (torch.autograd.grad(y, leaves_of(*inputs), weight) for y in (ours, theirs))
    for mine, other in zip(our_grads, their_grads, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_a_frozen_encoder_gets_no_gradient():
    features, projections, fuse_weight = fusion_inputs(HYBRID)
    for feature in features:
        feature.requires_grad_(False)
    fuse_levels(features, projections, fuse_weight).sum().backward()
    assert all(feature.grad is None for feature in features)
    assert all(weight.grad is not None for weight, _ in projections)


def test_nothing_is_larger_than_the_result_nor_kept():
    inputs = fusion_inputs(HYBRID)
    with TensorCensus() as census, kept_for_backward() as kept:
        fused = fuse_levels(*inputs)
        assert census.largest == fused.numel()
        assert num_bytes(kept) < fused.numel() * fused.element_size()
        fused.backward(torch.ones_like(fused))
    assert census.largest == fused.numel()


def test_wrong_arguments_are_named():
    features, projections, fuse_weight = fusion_inputs(HYBRID)
    with pytest.raises(ValueError, match=r'features and projections must be as many.*4 and 3'):
        fuse_levels(features, projections[:3], fuse_weight)
    with pytest.raises(ValueError, match=r'fuse_weight must take the 160 channels.*\(48, 159, 1, 1\)'):
        fuse_levels(features, projections, fuse_weight[:, :-1])
