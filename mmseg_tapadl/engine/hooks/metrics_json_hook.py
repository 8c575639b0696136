"""Writes what was measured, in full precision."""

import json
import math
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_tapadl.utils import write_json

TEST_FILE = 'metrics.json'
VALIDATION_FILE = 'validation_metrics.json'


@HOOKS.register_module()
class MetricsJsonHook(Hook):
    """After a test ``metrics.json`` in the work dir, during training ``validation_metrics.json``.

    ``metrics.json`` holds ``metrics`` (percent, unrounded), ``per_class`` where the metric offers it,
    ``pictures``, ``checkpoint`` and ``config``; ``validation_metrics.json`` a list with the iteration of
    each validation. A value that is not a number is written as ``null``.
    """

    priority = 'LOW'

    def after_test_epoch(self, runner: Any, metrics: dict | None = None) -> None:
        """Writes ``metrics.json``."""
        if not is_main_process():
            return
        report = {
            'metrics': _plain(metrics or {}),
            'per_class': _plain(_per_class(runner.test_evaluator)),
            'pictures': len(runner.test_dataloader.dataset),
            'checkpoint': str(runner.cfg.get('load_from') or ''),
            'config': str(runner.cfg.filename or ''),
        }
        write_json(Path(runner.work_dir) / TEST_FILE, report)

    def after_val_epoch(self, runner: Any, metrics: dict | None = None) -> None:
        """Adds a line to ``validation_metrics.json``."""
        if not is_main_process():
            return
        path = Path(runner.work_dir) / VALIDATION_FILE
        entries = [
            entry for number, entry in recorded_validations(runner.work_dir).items() if number < runner.iter
        ]
        entries.append({'iter': runner.iter, **_plain(metrics or {})})
        write_json(path, entries)


def recorded_validations(work_dir: str | Path) -> dict[int, dict]:
    """The validations on record by iteration; empty where there is no readable record."""
    try:
        return {
            int(entry['iter']): entry for entry in json.loads((Path(work_dir) / VALIDATION_FILE).read_text())
        }
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _per_class(evaluator: Any) -> dict:
    found: dict = {}
    for metric in evaluator.metrics:
        found.update(getattr(metric, 'per_class', None) or {})
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, bool, int, type(None))):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
