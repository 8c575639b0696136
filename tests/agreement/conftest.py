"""One small run and its weights, shared by the tests of a process."""

from pathlib import Path

import pytest
from mmseg.utils import register_all_modules

import mmseg_tapadl.register  # noqa: F401
from tests.agreement.own_set import write_config, write_pictures
from tests.engine.tiny_run import train_here


@pytest.fixture(scope='session', autouse=True)
def registered() -> None:
    """Everything of mmseg and ours can be found by name, as in every entry."""
    register_all_modules()


@pytest.fixture(scope='session')
def own(tmp_path_factory) -> Path:
    """A folder with ``data/``, ``own.py`` and ``run/iter_2.pth``, trained on the five classes."""
    folder = tmp_path_factory.mktemp('own')
    write_config(folder / 'own.py', write_pictures(folder / 'data'))
    train_here(folder / 'own.py', folder / 'run')
    return folder
