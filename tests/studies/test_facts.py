"""What a run's result depends on, read in processes that have imported other things."""

import sys
from pathlib import Path

import setuptools

from mmseg_tapadl.studies.facts import pinned_versions


def test_copies_that_setuptools_offers_are_no_installed_libraries(monkeypatch):
    vendored = str(Path(setuptools.__file__).parent / '_vendor')
    assert list(Path(vendored).glob('*.dist-info'))
    monkeypatch.setattr(sys, 'path', [part for part in sys.path if part != vendored])
    alone = pinned_versions()
    assert {'torch', 'timm', 'numpy'} <= set(alone)
    monkeypatch.setattr(sys, 'path', [*sys.path, vendored])
    assert pinned_versions() == alone
