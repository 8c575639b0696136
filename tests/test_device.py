"""The device on which layers and models are tested: where tensors are made, and a device that there is not."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.device import VARIABLE, check_device, device_name, on_device


def test_an_unknown_device_ends_the_run_with_status_2(repo_root):
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', 'tests/layers/test_level_fusion.py'],
        cwd=repo_root,
        env={**os.environ, VARIABLE: 'warp9'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{VARIABLE}='warp9': no device to test on" in done.stdout + done.stderr
    assert 'passed' not in done.stdout


@pytest.mark.parametrize('name', ['meta', 'cuda:99', 'cpu:x'])
def test_a_device_on_which_nothing_can_be_computed_is_named(name):
    with pytest.raises(pytest.exit.Exception, match=f"{VARIABLE}='{name}': no device") as caught:
        check_device(name)
    assert caught.value.returncode == 2


def test_a_processor_by_default(monkeypatch):
    for value in (None, ''):
        monkeypatch.delenv(VARIABLE, raising=False)
        if value is not None:
            monkeypatch.setenv(VARIABLE, value)
        assert device_name() == 'cpu'
    check_device('cpu')


def test_everything_is_made_on_the_device():
    generator = torch.Generator().manual_seed(0)
    # Not a device to compute on, but one on which tensors can be made everywhere.
    with on_device('meta'):
        made = [
            torch.randn(2, 3),
            torch.randn((2, 3), generator=generator, dtype=torch.float64),
            torch.randint(0, 9, (4,), generator=generator),
            torch.tensor([1.0]),
            torch.zeros(3),
            torch.arange(4),
            torch.eye(2),
            *nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict().values(),
        ]
        assert {x.device.type for x in made} == {'meta'}
        leaf = torch.rand(2, requires_grad=True)
        assert leaf.is_leaf and leaf.requires_grad
        assert torch.zeros(1, device='cpu').device.type == 'cpu'
        with torch.device('cpu'):
            assert torch.randn(1).device.type == 'cpu'
    assert torch.zeros(1).device.type == 'cpu'
