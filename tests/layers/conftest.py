"""Layers are tested on the device that the environment names."""

import pytest

from tests.device import DEVICE, on_device


@pytest.fixture(scope='package', autouse=True)
def _on_the_tested_device():
    with on_device(DEVICE):
        yield
