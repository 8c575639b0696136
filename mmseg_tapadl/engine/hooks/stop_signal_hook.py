"""Turns SIGTERM and Ctrl-C into a saved checkpoint."""

import signal
import threading
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_tapadl.engine.hooks.whole_checkpoint_hook import WholeCheckpointHook
from mmseg_tapadl.utils import RunStopped


@HOOKS.register_module()
class StopSignalHook(Hook):
    """On SIGTERM or Ctrl-C: save after the current iteration and leave with status 143 or 130.

    A second Ctrl-C leaves at once. In distributed training one process that was told is enough: all stop
    at the same iteration. With gradient accumulation the run goes on to the next update of the weights.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._signal = 0
        self._previous: dict[int, Any] = {}

    def before_train(self, runner: Any) -> None:
        """Takes over the two signals (only the main thread may)."""
        self._logger = runner.logger
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._remember)

    def after_train(self, runner: Any) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stops here when told to, at a place that can be resumed exactly."""
        number = self._agreed_signal(runner)
        if not number or not runner.optim_wrapper.should_update():
            return
        saver = next((hook for hook in runner.hooks if isinstance(hook, WholeCheckpointHook)), None)
        if saver is None:
            message = 'stopped; nothing was saved, because no WholeCheckpointHook is switched on'
        else:
            saver.save_now(runner)
            message = (
                f'stopped after iteration {runner.iter + 1}, saved as {saver.last_ckpt}; go on with --resume'
            )
        self.after_train(runner)
        raise RunStopped(number, f'{signal.Signals(number).name}: {message}')

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stops within a validation; the checkpoint before it was saved, and resuming repeats it."""
        saver = next((hook for hook in runner.hooks if isinstance(hook, WholeCheckpointHook)), None)
        if not self._previous or saver is None or saver.saved_step != runner.iter:
            return
        number = self._agreed_signal(runner)
        if number:
            self.after_train(runner)
            name = signal.Signals(number).name
            # A run that just went on from a checkpoint has not written one: it may lie elsewhere (--resume PATH).
            where = (
                f'saved as {saver.last_ckpt}; go on with --resume'
                if saver.last_ckpt
                else 'whose checkpoint is the one that was resumed; go on as before'
            )
            raise RunStopped(
                number, f'{name}: stopped in the validation after iteration {runner.iter}, {where}'
            )

    def _agreed_signal(self, runner: Any) -> int:
        if not runner.distributed:
            return self._signal
        # Processes hear of a signal at different times; the largest number decides for all.
        told = torch.tensor(self._signal, device=next(runner.model.parameters()).device)
        all_reduce(told, op='max')
        return int(told)

    def _remember(self, number: int, frame: Any) -> None:
        if self._signal == signal.SIGINT == number:
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        self._signal = number
        again = '; Ctrl-C again leaves at once, without saving' if number == signal.SIGINT else ''
        self._logger.warning(
            f'{signal.Signals(number).name}: saving after this iteration, then leaving{again}'
        )
