"""Channel processing computes the same a part of its hidden channels at a time as all at once."""

import pytest
import torch
from torch import nn

from mmseg_tapadl.layers.budget import use_budget
from mmseg_tapadl.layers.channel_processing import DepthwiseMlp
from tests.device import DEVICE, DEVICE_TYPE
from tests.layers.tensor_census import TensorCensus

DIM, HIDDEN, GRID = 6, 20, (5, 7)


@pytest.fixture
def mlp():
    torch.manual_seed(0)
    module = DepthwiseMlp(DIM, hidden_dim=HIDDEN).double()
    with torch.no_grad():
        for tensor in (*module.parameters(), module.dwconv.bn.running_mean):
            tensor.uniform_(-1, 1)
        module.dwconv.bn.running_var.uniform_(0.5, 2)
    with use_budget(DEVICE, hidden_channels=8):  # three parts, the last shorter
        yield module.eval()


def tokens() -> torch.Tensor:
    return torch.randn(
        2, GRID[0] * GRID[1], DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


def test_in_parts_as_at_once(mlp):
    at_once = mlp(tokens(), GRID)
    assert at_once.requires_grad
    with torch.no_grad(), TensorCensus() as census:
        in_parts = mlp(tokens(), GRID)
    torch.testing.assert_close(in_parts, at_once, rtol=1e-12, atol=1e-12)
    assert census.largest < tokens().numel() / DIM * HIDDEN / 2


def test_a_norm_that_adapts_in_evaluation_still_does(mlp):
    """Test-time adaptation puts the norms alone into training mode."""
    mlp.dwconv.bn.train()
    before = mlp.dwconv.bn.running_mean.clone()
    with torch.no_grad():
        adapted = mlp(tokens(), GRID)
    assert not torch.equal(before, mlp.dwconv.bn.running_mean)
    torch.testing.assert_close(adapted, mlp(tokens(), GRID), rtol=1e-12, atol=1e-12)


def test_another_norm(mlp):
    other = (
        DepthwiseMlp(DIM, hidden_dim=HIDDEN, norm_layer=lambda width: nn.GroupNorm(4, width)).double().eval()
    )
    with torch.no_grad():
        assert torch.equal(other(tokens(), GRID), other.mix(other.fc1(tokens()), GRID))


def test_a_norm_without_weight_and_bias():
    mlp = DepthwiseMlp(DIM, hidden_dim=HIDDEN, norm_layer=lambda width: nn.BatchNorm2d(width, affine=False))
    mlp = mlp.double().eval()
    at_once = mlp(tokens(), GRID)
    with use_budget(DEVICE, hidden_channels=8), torch.no_grad():
        torch.testing.assert_close(mlp(tokens(), GRID), at_once, rtol=1e-12, atol=1e-12)


def test_mixed_precision_gives_one_type_in_parts_and_at_once(mlp):
    mlp, x = mlp.float(), tokens().float()
    with torch.autocast(DEVICE_TYPE, torch.bfloat16):
        at_once = mlp(x, GRID)
        with torch.no_grad():
            in_parts = mlp(x, GRID)
    assert in_parts.dtype == at_once.dtype == torch.bfloat16
    torch.testing.assert_close(in_parts, at_once, rtol=0.05, atol=0.05)
