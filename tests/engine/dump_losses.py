"""A hook for tests: every process writes the losses it saw."""

import json
from pathlib import Path

from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class DumpLossesHook(Hook):
    """Writes ``losses_<rank>.json`` in the work dir: the loss of each iteration in this process."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append(float(outputs['loss'].detach()))
        (Path(runner.work_dir) / f'losses_{runner.rank}.json').write_text(json.dumps(self.losses))
