"""A disk with no room even for the log: one line on the screen says so."""

import errno
import logging

import pytest
from mmengine.logging import MMLogger

from mmseg_tapadl.utils.command_line import run_tool


@pytest.fixture
def log_on_a_full_disk():
    logger = MMLogger.get_instance('on_a_full_disk')
    handler = logging.FileHandler('/dev/full')
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    MMLogger._instance_dict.pop('on_a_full_disk')


def test_it_is_said_once_and_has_its_status(log_on_a_full_disk, capsys):
    def body() -> None:
        raise OSError(errno.ENOSPC, 'No space left on device', 'run/config.py')

    assert run_tool('tools/train.py', body) == 4
    said = capsys.readouterr().err
    assert said.startswith('train.py: error: the disk is full (') and 'run/config.py' in said
    assert 'Traceback' not in said and said.count('\n') == 1
