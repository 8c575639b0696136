"""The small data set, config and checkpoint of these tests, and results made from them once."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from tests.robustness.tiny_model import make_tree, write_checkpoint, write_config


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> Path:
    """A folder with ``data/``, ``model.py`` and ``model.pth``."""
    folder = tmp_path_factory.mktemp('tiny')
    config = write_config(folder / 'model.py', make_tree(folder / 'data'))
    write_checkpoint(config, folder / 'model.pth')
    return folder


@pytest.fixture
def options(tiny, tmp_path):
    """Builds sweep options over a fresh work dir: two corruptions at two severities unless told otherwise."""
    from mmseg_tapadl.robustness.sweep import SweepOptions

    def build(**changes):
        given = dict(
            checkpoint=str(tiny / 'model.pth'),
            work_dir=tmp_path / 'work',
            corruptions=['gaussian_noise', 'fog'],
            severities=[1, 3],
        )
        return SweepOptions(**{**given, **changes})

    return build


@pytest.fixture
def config(tiny) -> Config:
    return Config.fromfile(tiny / 'model.py')


@pytest.fixture(scope='session')
def finished(tiny, tmp_path_factory) -> Path:
    """The work dir of a sweep that was never disturbed."""
    from mmseg_tapadl.robustness.benchmark import measure
    from mmseg_tapadl.robustness.sweep import SweepOptions

    folder = tmp_path_factory.mktemp('finished')
    measure(
        Config.fromfile(tiny / 'model.py'),
        SweepOptions(
            checkpoint=str(tiny / 'model.pth'),
            work_dir=folder,
            corruptions=['gaussian_noise', 'fog'],
            severities=[1, 3],
        ),
    )
    return folder


def numbers_of(work_dir: Path) -> dict:
    """A work dir's ``robustness.json`` without what tells when it was made."""
    results = json.loads((work_dir / 'robustness.json').read_text())
    results.pop('time')
    return results
