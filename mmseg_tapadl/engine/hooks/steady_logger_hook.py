"""A log that never goes silent for long."""

import time

from mmengine.dist import get_world_size
from mmengine.hooks import LoggerHook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class SteadyLoggerHook(LoggerHook):
    """mmengine's ``LoggerHook``, which also logs the first iteration and whenever ``seconds`` have passed.

    On a small machine fifty iterations take minutes; progress and the time left should be seen before. With
    several processes only ``interval`` counts, because a line of the log is a joint action of all of them.

    Args:
        interval: Iterations between lines.
        seconds: The longest silence.
        log_metric_by_epoch: As for ``LoggerHook``.
    """

    def __init__(self, interval: int = 50, seconds: float = 10.0, log_metric_by_epoch: bool = False) -> None:
        super().__init__(interval=interval, log_metric_by_epoch=log_metric_by_epoch)
        self.seconds = seconds
        self._last = float('-inf')

    def every_n_inner_iters(self, batch_idx: int, n: int) -> bool:
        """Whether this iteration gets a line."""
        due = super().every_n_inner_iters(batch_idx, n)
        if get_world_size() == 1:
            due = due or time.monotonic() - self._last > self.seconds
        if due:
            self._last = time.monotonic()
        return due
