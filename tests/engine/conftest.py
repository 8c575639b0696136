"""One undisturbed tiny run, shared by the tests of a process."""

from pathlib import Path

import pytest

from tests.engine.tiny_run import train_here, write_config, write_pictures


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> Path:
    """A folder with ``data/`` and ``tiny.py``, the config of an 8-iteration run."""
    folder = tmp_path_factory.mktemp('tiny')
    write_pictures(folder / 'data')
    write_config(folder / 'tiny.py', folder / 'data', iters=8)
    return folder


@pytest.fixture(scope='session')
def undisturbed(tiny) -> Path:
    """The work dir of that run, done without a disturbance: iter_3, iter_6, iter_8."""
    train_here(tiny / 'tiny.py', tiny / 'undisturbed')
    return tiny / 'undisturbed'
