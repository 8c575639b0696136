"""A run counts iterations; parts of a config that count epochs are refused before anything starts."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop
from mmseg.registry import HOOKS, LOOPS

from mmseg_tapadl.engine.config import ConfigError

_LOOP = "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=N, val_interval=M)"


def refuse_epochs(cfg: Config) -> None:
    """Raises for a training in which something counts epochs.

    The sampler yields pictures without end, so an epoch would have none; validations, checkpoints and schedules all
    count iterations.

    Raises:
        ConfigError: Naming every such key and what to write instead.
    """
    faults = [*_loop_faults(cfg), *_schedule_faults(cfg.get('param_scheduler'), 'param_scheduler')]
    if (cfg.get('log_processor') or {}).get('by_epoch'):
        faults.append('log_processor.by_epoch is True: write log_processor = dict(by_epoch=False)')
    for name, hook in (cfg.get('default_hooks') or {}).items():
        faults += _hook_faults(hook, f'default_hooks.{name}')
    for number, hook in enumerate(cfg.get('custom_hooks') or []):
        faults += _hook_faults(hook, f'custom_hooks.{number}')
    if faults:
        where = f'{cfg.filename}: ' if cfg.filename else ''
        raise ConfigError(f'{where}a run here counts iterations, not epochs: {"; ".join(faults)}')


def _loop_faults(cfg: Config) -> Iterator[str]:
    loop = cfg.get('train_cfg')
    if not isinstance(loop, dict):
        return
    kind = LOOPS.get(loop['type']) if isinstance(loop.get('type'), str) else loop.get('type')
    by_epoch = isinstance(kind, type) and issubclass(kind, EpochBasedTrainLoop)
    if by_epoch or loop.get('by_epoch') or 'max_epochs' in loop:
        said = ', '.join(f'{key}={loop[key]}' for key in ('type', 'by_epoch', 'max_epochs') if key in loop)
        yield (
            f'train_cfg has {said}: write {_LOOP}, N being {loop.get("max_epochs", "epochs")} x pictures / (batch_size x '
            'processes) and M the iterations from one validation to the next'
        )


def _schedule_faults(schedule: Any, key: str) -> Iterator[str]:
    """A scheduler counts epochs unless told otherwise; in a run by iterations it would stand still."""
    if isinstance(schedule, (list, tuple)):
        for number, part in enumerate(schedule):
            yield from _schedule_faults(part, f'{key}.{number}')
    elif isinstance(schedule, dict) and 'type' in schedule:
        kind = schedule['type'] if isinstance(schedule['type'], str) else schedule['type'].__name__
        # What waits for the score of a validation is stepped by validations, whatever it says.
        by_score = kind.rpartition('.')[2].startswith('ReduceOnPlateau')
        if schedule.get('by_epoch', True) and not schedule.get('convert_to_iter_based') and not by_score:
            said = 'by_epoch is True' if 'by_epoch' in schedule else 'by_epoch is not set, which means True'
            yield f'{key} ({kind}): {said}: write by_epoch=False, with begin and end in iterations'
    elif isinstance(schedule, dict):
        for name, part in schedule.items():
            yield from _schedule_faults(part, f'{key}.{name}')


def _hook_faults(hook: Any, key: str) -> Iterator[str]:
    if not isinstance(hook, dict):
        return
    kind = HOOKS.get(hook['type']) if isinstance(hook.get('type'), str) else hook.get('type')
    # mmengine's own saves by epochs unless told otherwise.
    if hook.get('by_epoch', kind is CheckpointHook):
        said = 'by_epoch is True' if 'by_epoch' in hook else 'by_epoch is not set, which means True'
        yield f'{key}: {said}: write by_epoch=False, with its intervals in iterations'
    if hook.get('log_metric_by_epoch'):
        yield f'{key}: log_metric_by_epoch is True: write log_metric_by_epoch=False'
    if hook.get('begin_epoch'):
        yield f'{key}: begin_epoch is {hook["begin_epoch"]}: write begin_iter, in iterations'
