"""A study small enough for tests: the tiny run of tests/engine, two variants, real processes."""

import json
import sys
from pathlib import Path

from tests.engine.tiny_run import ROOT, write_config, write_pictures

STUDY = """
base = 'tiny.py'
changes = {'train_cfg.val_interval': 100}
variants = dict(
    wide={'model.decode_head.channels': 48},
    calm={'optim_wrapper.optimizer.lr': 1e-5},
)
seeds = [0, 1]
primary = dict(variant='wide', against='base', measure='clean')
"""


def write_study(folder: Path, text: str = STUDY, *, name: str = 'tiny_study', iters: int = 4) -> Path:
    """Writes data, config and study into a folder; returns the study's file."""
    if not (folder / 'data').exists():
        write_pictures(folder / 'data', train=4, val=2)
        write_config(folder / 'tiny.py', folder / 'data', iters=iters)
    file = folder / f'{name}.py'
    file.write_text(text)
    return file


def study_command(study: Path, *args: object) -> list[str]:
    """The command line of the tool."""
    return [sys.executable, str(ROOT / 'tools/study.py'), str(study), *map(str, args)]


def read(path: Path) -> dict:
    """A JSON file."""
    return json.loads(path.read_text())
