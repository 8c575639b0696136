"""The chunked end of a decode head: against the modules one after the other."""

import copy

import pytest
import torch
from torch import nn

from mmseg_tapadl.layers import can_classify_normed, normed_classifier
from tests.layers.tensor_census import kept_for_backward, num_bytes

CHANNELS = 70  # three chunks, the last shorter


def head_end(*, affine=True, tracks=True, momentum=0.1):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(CHANNELS, affine=affine, track_running_stats=tracks, momentum=momentum).double()
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    if tracks:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm, nn.Conv2d(CHANNELS, 7, 1).double()


def plain(x, norm, mask, classifier):
    h = norm(x).relu()
    return classifier(h if mask is None else h * mask)


@pytest.mark.parametrize('is_training', [True, False])
@pytest.mark.parametrize('masked', [True, False])
@pytest.mark.parametrize(
    'options', [{}, dict(affine=False), dict(tracks=False), dict(momentum=None)], ids=lambda o: str(o)
)
def test_equals_the_modules_one_after_the_other(is_training, masked, options):
    norm, classifier = head_end(**options)
    norm.train(is_training)
    twin = copy.deepcopy(norm)
    x = torch.randn(2, CHANNELS, 5, 6, dtype=torch.float64, requires_grad=True)
    mask = (torch.rand(2, CHANNELS, 1, 1) > 0.3).double() * 1.4 if masked else None
    ours = normed_classifier(x, norm, mask, classifier.weight, classifier.bias)
    theirs = plain(x, twin, mask, classifier)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for name, buffer in twin.named_buffers():
        torch.testing.assert_close(dict(norm.named_buffers())[name], buffer)
    weight = torch.randn_like(ours)
    leaves = [x, *classifier.parameters()]
    our_grads = torch.autograd.grad(ours, [*leaves, *norm.parameters()], weight)
    their_grads = torch.autograd.grad(theirs, [*leaves, *twin.parameters()], weight)
    for mine, other in zip(our_grads, their_grads, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_keeps_its_input_and_little_else():
    norm, classifier = head_end()
    x = torch.randn(2, CHANNELS, 30, 30, dtype=torch.float64, requires_grad=True)
    with kept_for_backward() as kept:
        normed_classifier(
            x, norm, torch.ones(2, CHANNELS, 1, 1, dtype=torch.float64), classifier.weight, None
        )
    assert num_bytes(kept) < 1.1 * num_bytes([x])


def test_which_modules_it_stands_for():
    norm, _ = head_end()
    assert can_classify_normed(norm, nn.ReLU())
    assert can_classify_normed(nn.SyncBatchNorm(3), nn.ReLU()), 'alone in its run it is an ordinary one'
    assert not can_classify_normed(norm, nn.GELU())
    assert not can_classify_normed(nn.GroupNorm(1, 3), nn.ReLU())
