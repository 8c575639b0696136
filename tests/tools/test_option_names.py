"""Options are taken in full only, by every tool: a shortened one would change its meaning when another is added."""

import runpy
import sys
from pathlib import Path

import pytest

TOOLS = sorted((Path(__file__).resolve().parents[2] / 'tools').rglob('*.py'))


def exit_status(tool, option, monkeypatch):
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(sys, 'argv', [str(tool), option])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(tool))['parse_args']()
    return stopped.value.code


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: path.stem)
def test_no_option_can_be_shortened(tool, monkeypatch, capsys):
    """Every tool has --help, which ends it with 0; where it could be shortened, --hel would do the same."""
    assert exit_status(tool, '--help', monkeypatch) == 0
    assert exit_status(tool, '--hel', monkeypatch) == 2
    assert len(TOOLS) > 15
