"""The pictures and models of the attention report's tests, made once."""

from pathlib import Path

import pytest

from tests.analysis.tiny_models import BACKBONES, write_model
from tests.robustness.tiny_model import make_tree


@pytest.fixture(scope='session')
def street(tmp_path_factory) -> Path:
    """A folder with ``data/`` and, for each of ``BACKBONES``, NAME.py and NAME.pth."""
    folder = tmp_path_factory.mktemp('street')
    root = make_tree(folder / 'data')
    for name in BACKBONES:
        write_model(folder, name, root)
    return folder


@pytest.fixture(scope='session')
def pictures(street) -> list[str]:
    """The paths of the pictures."""
    return sorted(map(str, (street / 'data').rglob('*_leftImg8bit.png')))


@pytest.fixture
def report(street, tmp_path):
    """Makes a report of models by their names; returns the content of ``attention.json``."""
    from mmseg_tapadl.analysis.attention_report import ModelFiles, ReportOptions, report_attention
    from mmseg_tapadl.engine.config import load_config

    def make(*names: str, out: Path = tmp_path / 'out', cfg_options: list[str] | None = None, **options):
        models = [
            ModelFiles(load_config(street / f'{name}.py', cfg_options), str(street / f'{name}.pth'))
            for name in names
        ]
        return report_attention(models, ReportOptions(out=out, **options))

    return make
