"""Stops a run whose loss or weights are no numbers any more."""

import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_tapadl.engine.repeatable.sample_names import pictures_of
from mmseg_tapadl.utils import InputError, NotFiniteError


@HOOKS.register_module()
class FiniteGuardHook(Hook):
    """Raises :class:`NotFiniteError` on a loss that is NaN or infinite, and never saves such weights.

    A step that mixed precision's loss scaler skips (its scale was too high, the weights stay as they are)
    does not count until the scale has fallen below ``min_scale``.

    Args:
        patience: How many bad iterations in a row stop the run; 1 stops at the first.
        min_scale: Loss scale below which a skipped step counts as a bad iteration.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, patience: int = 1, min_scale: float = 1.0) -> None:
        if not isinstance(patience, int) or patience < 1:
            raise InputError(
                f'FiniteGuardHook: patience must be a whole number of at least 1, not {patience!r}'
            )
        self.patience = patience
        self.min_scale = min_scale
        self._bad_in_a_row = 0

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Checks every value the model reported as a loss."""
        values = {name: _number(value) for name, value in (outputs or {}).items() if 'loss' in name}
        bad = {name: value for name, value in values.items() if not math.isfinite(value)}
        if not bad or self._scaler_skipped(runner):
            self._bad_in_a_row = 0
            return
        self._bad_in_a_row += 1
        rates = sorted({rate for group in runner.optim_wrapper.get_lr().values() for rate in group})
        text = (
            f'the loss is not finite at iteration {runner.iter + 1} '
            f'(learning rate {" to ".join(f"{rate:.3g}" for rate in dict.fromkeys((rates[0], rates[-1])))}): '
            f'{", ".join(f"{name} = {value}" for name, value in bad.items())}; '
            f'pictures: {", ".join(pictures_of(data_batch)) or "unknown"}'
        )
        if self._bad_in_a_row >= self.patience:
            raise NotFiniteError(
                f'{text}. Nothing of it was saved; lower the rate, clip gradients, or look at the pictures.'
            )
        runner.logger.warning(f'{text} ({self._bad_in_a_row} of {self.patience} tolerated)')

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Refuses to save weights that are not finite.

        Raises:
            NotFiniteError: Naming the first such tensor.
        """
        for name, value in checkpoint['state_dict'].items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise NotFiniteError(
                    f'{name} is not finite after iteration {runner.iter + 1}; the checkpoint was not written'
                )

    def _scaler_skipped(self, runner: Any) -> bool:
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if scaler is None or not scaler.is_enabled():
            return False
        return float(scaler.get_scale()) >= self.min_scale


def _number(value: Any) -> float:
    return value.detach().item() if isinstance(value, torch.Tensor) else float(value)
