"""Token-aware average pooling: against the unfold form, by hand, and what it starts as."""

import pytest
import torch
from torch import nn

from mmseg_tapadl.layers import TokenAwareAvgPool, token_aware_avg_pool
from mmseg_tapadl.layers.textbook import textbook_token_aware_avg_pool
from tests.layers.tensor_census import TensorCensus, kept_for_backward, num_bytes

GRIDS = [(1, 3, 8, 8), (2, 5, 7, 13), (1, 2, 1, 9), (3, 1, 6, 1), (1, 1, 1, 1), (2, 4, 2, 3)]


def pooling_inputs(shape, branches, *, dtype=torch.float64, seed=0, memory_format=torch.contiguous_format):
    generator = torch.Generator().manual_seed(seed)
    images, _, height, width = shape
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    logits = torch.randn(images, branches, height, width, generator=generator, dtype=torch.float64)
    return x.to(dtype).contiguous(memory_format=memory_format), logits.softmax(1).to(dtype)


def pooled_and_gradients(function, x, weights):
    x, weights = (t.detach().clone().requires_grad_() for t in (x, weights))
    y = function(x, weights)
    generator = torch.Generator().manual_seed(5)
    y.backward(torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype))
    return dict(y=y.detach(), grad_x=x.grad, grad_weights=weights.grad)


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('branches', [1, 2, 4])
@pytest.mark.parametrize('shape', GRIDS)
def test_equals_the_unfold_form(shape, branches, memory_format):
    x, weights = pooling_inputs(shape, branches, memory_format=memory_format)
    ours, theirs = (
        pooled_and_gradients(f, x, weights) for f in (token_aware_avg_pool, textbook_token_aware_avg_pool)
    )
    for name, value in theirs.items():
        torch.testing.assert_close(
            ours[name], value, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f'{n}: {m}'
        )


def test_gradcheck():
    x, weights = (t.requires_grad_() for t in pooling_inputs((2, 2, 4, 5), 3))
    assert torch.autograd.gradcheck(token_aware_avg_pool, (x, weights))


def test_worked_out_by_hand():
    # One token of 9 in the middle of a 5 x 5 grid: dilation 1 spreads ones over its neighbours, dilation 2 over
    # the corners, the middles of the edges and itself; at a corner dilation 1 counts what is outside as zeros.
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 9.0

    def branch(k):
        weights = torch.zeros(1, 3, 5, 5)
        weights[:, k] = 1.0
        return token_aware_avg_pool(x, weights)[0, 0].round(decimals=5).tolist()

    assert branch(0) == x[0, 0].tolist()
    assert branch(1) == [[0.0] * 5, *[[0.0, 1.0, 1.0, 1.0, 0.0]] * 3, [0.0] * 5]
    assert branch(2) == [
        [1.0, 0.0] * 2 + [1.0],
        [0.0] * 5,
        [1.0, 0.0] * 2 + [1.0],
        [0.0] * 5,
        [1.0, 0.0] * 2 + [1.0],
    ]

    ones = torch.ones(1, 1, 3, 3)
    only_first = torch.stack([torch.zeros(3, 3), torch.ones(3, 3)])[None]
    by_nine = token_aware_avg_pool(ones, only_first)[0, 0] * 9
    torch.testing.assert_close(by_nine, torch.tensor([[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]))


def test_weights_are_those_of_the_token_that_receives():
    x, _ = pooling_inputs((1, 2, 5, 5), 2)
    weights = torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    weights[:, 0] = 1.0
    weights[0, :, 1, 3] = torch.tensor([0.0, 1.0])
    y = token_aware_avg_pool(x, weights)
    changed = (y != x).any(1)[0]
    assert changed.nonzero().tolist() == [[1, 3]]
    torch.testing.assert_close(y[0, :, 1, 3], x[0, :, 0:3, 2:5].mean((1, 2)))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_error_is_within_twice_the_unfold_forms(dtype):
    worst = {}
    for seed in range(6):
        x, weights = pooling_inputs((1, 24, 14, 17), 4, dtype=dtype, seed=seed)
        exact = pooled_and_gradients(textbook_token_aware_avg_pool, x.double(), weights.double())
        for side, function in (('ours', token_aware_avg_pool), ('theirs', textbook_token_aware_avg_pool)):
            for name, value in pooled_and_gradients(function, x, weights).items():
                error = (value.double() - exact[name]).abs().max().item()
                worst[side, name] = max(worst.get((side, name), 0.0), error)
    for name in exact:
        assert worst['ours', name] <= 2 * worst['theirs', name], name


def test_keeps_the_tokens_and_the_weights_only():
    x, weights = (t.requires_grad_() for t in pooling_inputs((2, 8, 9, 10), 4))
    with kept_for_backward() as kept, TensorCensus() as census:
        y = token_aware_avg_pool(x, weights)
    assert num_bytes(kept) == num_bytes([x, weights])
    with census:
        y.sum().backward()
    assert census.largest == x.numel(), 'no branch is unfolded or stacked'


def test_gradients_for_one_input_only():
    for needed in (0, 1):
        leaves = [t.requires_grad_(i == needed) for i, t in enumerate(pooling_inputs((1, 2, 4, 4), 3))]
        token_aware_avg_pool(*leaves).sum().backward()
        assert [leaf.grad is not None for leaf in leaves] == [needed == 0, needed == 1]


def test_module_is_the_mixture_its_weights_say():
    torch.manual_seed(0)
    module = TokenAwareAvgPool(6, num_branches=3).double()
    nn.init.normal_(module.proj[2].weight)
    x, _ = pooling_inputs((2, 6, 7, 5), 3)
    weights = torch.softmax(module.proj(x), dim=1)
    module.proj[1].reset_running_stats()
    torch.testing.assert_close(module(x), textbook_token_aware_avg_pool(x, weights))


@pytest.mark.parametrize('branches', [2, 4, 7])
@pytest.mark.parametrize('is_training', [True, False])
@pytest.mark.parametrize('spread', [0.1, 1.0, 30.0])
def test_starts_as_nearly_the_identity(branches, is_training, spread):
    torch.manual_seed(0)
    module = TokenAwareAvgPool(64, num_branches=branches).train(is_training)
    x = spread * torch.randn(2, 64, 9, 11)
    identity = torch.softmax(module.proj(x), dim=1)[:, 0]
    assert identity.min() >= 0.99, 'at every token, at the border too'
    assert identity.max() <= 0.995, 'or there is no gradient left to learn from'


def test_every_parameter_learns_from_the_first_step_on():
    torch.manual_seed(0)
    module = TokenAwareAvgPool(8)
    module(torch.randn(1, 8, 6, 6)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_one_branch_does_nothing_and_asks_for_no_gradient():
    module = TokenAwareAvgPool(8, num_branches=1)
    x = torch.randn(1, 8, 4, 4)
    assert module(x) is x
    assert not any(parameter.requires_grad for parameter in module.parameters())
    shapes = {
        name: tuple(value.shape) for name, value in module.state_dict().items() if 'running' not in name
    }
    assert shapes.pop('proj.1.num_batches_tracked') == ()
    assert shapes == {
        'proj.0.weight': (1, 8, 3, 3),
        'proj.1.weight': (1,),
        'proj.1.bias': (1,),
        'proj.2.weight': (1, 1, 3, 3),
    }


def test_norm_is_replaceable():
    assert isinstance(TokenAwareAvgPool(8, norm_layer=nn.SyncBatchNorm).proj[1], nn.SyncBatchNorm)


@pytest.mark.parametrize(
    ('x', 'weights', 'message'),
    [
        (torch.zeros(3, 4, 4), torch.zeros(1, 2, 4, 4), r'^x must have four axes.*\(3, 4, 4\)'),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 4, 5), r'^weights must agree with x.*\(1, 2, 4, 5\)'),
        (torch.zeros(2, 3, 4, 4), torch.zeros(1, 2, 4, 4), r'^weights must agree with x.*\(1, 2, 4, 4\)'),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 0, 4, 4), r'^weights must have no empty axis'),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 2, 4, 4), r'^x must be floating.*uint8'),
        (
            torch.zeros(1, 3, 4, 4),
            torch.zeros(1, 2, 4, 4, dtype=torch.int64),
            r'^weights must be floating.*int64',
        ),
    ],
)
def test_wrong_arguments_are_named(x, weights, message):
    with pytest.raises(ValueError, match=message):
        token_aware_avg_pool(x, weights)


def test_wrong_number_of_branches():
    with pytest.raises(ValueError, match='num_branches must be at least 1, got 0'):
        TokenAwareAvgPool(8, num_branches=0)
