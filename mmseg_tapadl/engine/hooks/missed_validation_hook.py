"""Repeats the validation that a kill or a signal cut short."""

from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_tapadl.engine.hooks.metrics_json_hook import recorded_validations
from mmseg_tapadl.engine.run_state import is_resuming


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """When a run goes on from an iteration whose validation is not on record, validates first.

    mmengine goes on with the next iteration: the score, and perhaps the best checkpoint, would be missing.
    """

    priority = 'LOWEST'

    def before_train_epoch(self, runner: Any) -> None:
        """Validates where the undisturbed run would have (all other hooks are ready by now)."""
        if not is_resuming(runner) or runner.val_loop is None or runner.iter < max(1, runner.val_begin):
            return
        if runner.iter % runner.val_interval and runner.iter != runner.max_iters:
            return
        missed = torch.tensor(int(runner.iter not in recorded_validations(runner.work_dir)))
        # Only the main process's folder decides; all validate or none.
        missed = missed.to(next(runner.model.parameters()).device)
        broadcast(missed)
        if missed:
            runner.logger.info(f'the validation after iteration {runner.iter} is missing: it comes first')
            runner.val_loop.run()
