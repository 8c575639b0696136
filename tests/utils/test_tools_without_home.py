"""Tools of a user whom no table knows and who has no HOME, as in containers on clusters."""

import os

import pytest

from mmseg_tapadl.utils.command_line import run_tool


def test_libraries_that_want_a_home_folder_find_a_name_for_it(monkeypatch):
    monkeypatch.setenv('HOME', '')  # put back at the end
    monkeypatch.delenv('HOME')
    monkeypatch.setattr(os, 'getuid', lambda: 4242)
    platformdirs = pytest.importorskip('platformdirs')
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    seen = []
    assert run_tool('tool.py', lambda: seen.append(platformdirs.user_cache_dir('x'))) == 0
    assert seen == ['/nonexistent/.cache/x']
