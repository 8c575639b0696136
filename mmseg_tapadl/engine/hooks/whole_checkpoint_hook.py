"""Saving checkpoints so that there is always a whole one to go on from."""

import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmseg.registry import HOOKS

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.checkpoints.plain_data import restore_log_buffers, to_plain
from mmseg_tapadl.checkpoints.work_dir import (
    BEST_RECORD,
    check_free_space,
    checkpoints_in,
    point_to,
    read_best_record,
    step_of,
)
from mmseg_tapadl.engine.counting import refuse_epochs
from mmseg_tapadl.engine.run_state import is_resuming
from mmseg_tapadl.utils import InputError, write_json

# Adam keeps two numbers for each weight beside the weight itself.
_BYTES_PER_WEIGHT = 12


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` that always leaves a whole checkpoint.

    * A checkpoint takes its name when it is whole and on disk; old ones are deleted after that, not before.
    * ``last_checkpoint`` holds a bare name and is replaced in one step.
    * The best score lives in ``best_checkpoints.json``, so that nothing that was saved is written again.
    * Only plain data is stored.
    * With gradient accumulation a checkpoint waits for the next update of the weights: half a sum of
      gradients could not be resumed.
    * Free disk space is checked before the first iteration.

    Args:
        interval: Iterations between checkpoints.
        max_keep_ckpts: How many to keep, at least 2 so that there is one to fall back on; -1 keeps all.
        save_last: Also save after the last iteration.
        save_best: Name of the metric whose best checkpoint is kept, e.g. ``'mIoU'``, or None.
        rule: ``'greater'`` or ``'less'`` is better; None infers it from the metric's name.
        save_begin: First iteration that may be saved.
    """

    def __init__(
        self,
        interval: int = 1000,
        max_keep_ckpts: int = 3,
        save_last: bool = True,
        save_best: str | None = None,
        rule: str | None = None,
        save_begin: int = 0,
        by_epoch: bool = False,
    ) -> None:
        if by_epoch:
            raise InputError('WholeCheckpointHook counts iterations: by_epoch must be False')
        if max_keep_ckpts in (0, 1):
            raise InputError(
                'WholeCheckpointHook: max_keep_ckpts must be at least 2 (one to fall back on), or -1 to keep all'
            )
        super().__init__(
            interval=interval,
            by_epoch=False,
            max_keep_ckpts=max_keep_ckpts,
            save_last=save_last,
            save_best=save_best,
            rule=rule,
            save_begin=save_begin,
            backend_args=dict(backend='whole_file'),
        )
        self._due = False
        self.saved_step = -1

    def before_run(self, runner: Any) -> None:
        """Refuses a training that counts epochs, under mmengine's own Runner too."""
        if runner._train_loop is not None:
            refuse_epochs(runner.cfg)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Reads what :meth:`before_save_checkpoint` made of the log; the state to go on from is a saved one."""
        restore_log_buffers(checkpoint)
        if is_resuming(runner):
            self.saved_step = checkpoint.get('meta', {}).get('iter', -1)

    def before_train(self, runner: Any) -> None:
        """Checks the free space and takes over the best score so far."""
        super().before_train(runner)
        if not is_main_process():
            return
        weights = sum(p.numel() for p in runner.model.parameters())
        copies = 2 if self.max_keep_ckpts < 0 else self.max_keep_ckpts + 1 - len(checkpoints_in(self.out_dir))
        check_free_space(self.out_dir, max(1, copies) * weights * _BYTES_PER_WEIGHT)
        self._record = [entry for entry in read_best_record(self.out_dir) if entry['iter'] <= runner.iter]
        for stale in Path(self.out_dir).glob('.*.pth.*.tmp'):
            stale.unlink(missing_ok=True)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Saves when the interval is over and the weights have just been updated."""
        last = self.save_last and self.is_last_train_iter(runner)
        # Also before a validation: it may take longer than a machine that is being taken away waits.
        due = self.every_n_train_iters(runner, self.interval, self.save_begin) or _validates_next(runner)
        self._due = self._due or due or last
        if self._due and (last or runner.optim_wrapper.should_update()):
            self.save_now(runner)

    def save_now(self, runner: Any) -> None:
        """Saves the state after the current iteration, unless that was just done."""
        self._due = False
        step = runner.iter + 1
        if self.saved_step != step:
            runner.logger.info(f'Saving checkpoint at {step} iterations')
            self._save_checkpoint_with_step(runner, step, meta=dict(epoch=runner.epoch, iter=step))
            self.saved_step = step

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Leaves only plain data in what is about to be written (after all other hooks)."""
        hub = checkpoint.get('message_hub')
        if isinstance(hub, dict):
            # The config is in meta already.
            infos = hub['runtime_info'].items()
            hub['runtime_info'] = {key: value for key, value in infos if key != 'cfg' and _is_plain(value)}
        plain = to_plain(checkpoint)
        checkpoint.clear()
        checkpoint.update(plain)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        self.last_ckpt = osp.join(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', name)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=False,
            backend_args=self.backend_args,
        )
        if not is_main_process():
            return
        point_to(name, runner.work_dir)
        if self.max_keep_ckpts > 0:
            # Files beyond this step belong to a part of the run that a --resume PATH went back behind.
            older = [path for path in checkpoints_in(self.out_dir) if step_of(path) <= step]
            for path in older[self.max_keep_ckpts :]:
                path.unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        for key in self.key_indicators:
            self._save_if_best(runner, key, metrics.get(key))

    def _save_if_best(self, runner: Any, key: str, score: Any) -> None:
        if not is_main_process() or score is None or score != score:
            return
        score = float(score)
        before = [entry for entry in self._record if entry['metric'] == key]
        if before and not self.is_better_than[key](score, before[-1]['score']):
            return
        name = f'best_{key}_iter_{runner.iter}.pth'.replace('/', '_')
        runner.message_hub.update_info('best_score', score)
        runner.message_hub.update_info('best_ckpt', name)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=False,
            save_param_scheduler=False,
            meta=dict(epoch=runner.epoch, iter=runner.iter),
            by_epoch=False,
            backend_args=self.backend_args,
        )
        self._record.append(dict(metric=key, score=score, iter=runner.iter, file=name))
        write_json(Path(self.out_dir) / BEST_RECORD, self._record)
        for old in Path(self.out_dir).glob(f'best_{key}_iter_*.pth'.replace('/', '_')):
            if old.name != name:
                old.unlink(missing_ok=True)
        runner.logger.info(
            f'The best checkpoint so far ({key} {score:.4f} at iteration {runner.iter}) is {name}'
        )


def _validates_next(runner: Any) -> bool:
    step = runner.iter + 1
    return runner.val_loop is not None and step >= runner.val_begin and step % runner.val_interval == 0


def _is_plain(value: Any) -> bool:
    try:
        to_plain(value)
    except CheckpointError:
        return False
    return True
