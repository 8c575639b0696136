"""The facts that make a run this run: stored in its checkpoints, compared when it goes on."""

import json
from typing import Any

import torch
from mmengine.hooks import EMAHook

from mmseg_tapadl.engine.errors import RunMismatchError

# What goes on with a note: it changes speed, length or the last bits, but not the meaning.
_MAY_CHANGE = {'max_iters', 'schedule', 'processes', 'batch_size', 'threads', 'device'}


def facts_of(runner: Any) -> dict[str, Any]:
    """Plain facts of a training run.

    Returns:
        ``seed``, ``processes``, ``batch_size`` (per process), ``accumulate``, ``max_iters``,
        ``schedule`` (the param_scheduler as JSON text), ``optimizer``, ``classes``, ``pictures``,
        ``amp``, ``ema``, ``device`` and ``threads``.
    """
    dataset = runner.train_dataloader.dataset
    optimizer = runner.optim_wrapper
    return {
        'seed': runner.seed,
        'processes': runner.world_size,
        'batch_size': runner.train_dataloader.batch_size,
        'accumulate': optimizer._accumulative_counts,
        'max_iters': runner.max_iters,
        'schedule': json.dumps(runner.cfg.get('param_scheduler'), sort_keys=True, default=str),
        'optimizer': type(optimizer.optimizer).__name__,
        'classes': list(getattr(dataset, 'metainfo', {}).get('classes') or []),
        'pictures': len(dataset),
        'amp': type(optimizer).__name__,
        'device': next(runner.model.parameters()).device.type,
        'threads': torch.get_num_threads(),
        'ema': any(isinstance(hook, EMAHook) for hook in runner.hooks),
    }


def compare_facts(checkpoint: dict, now: dict[str, Any], *, has_ema: bool) -> dict[str, str]:
    """Finds what changed since a checkpoint was saved.

    Args:
        checkpoint: As read; files that this toolkit did not write have no facts and are not compared.
        now: Today's :func:`facts_of`.
        has_ema: Whether today's run averages weights.

    Returns:
        Changes that are tolerated: the fact's name and a sentence for the log.

    Raises:
        RunMismatchError: With every change that would make it another run.
    """
    then = checkpoint.get('meta', {}).get('run')
    if ('ema_state_dict' in checkpoint) != has_ema:
        was, is_now = ('with', 'has no') if not has_ema else ('without', 'has an')
        raise RunMismatchError(
            f'the checkpoint was saved {was} averaged weights (EMAHook) and this config {is_now} EMAHook; '
            'going on would mix averaged and plain weights'
        )
    if not isinstance(then, dict):
        return {
            'facts': 'the checkpoint does not tell batch size, schedule and classes: they cannot be compared'
        }
    changed = {key for key in now if key in then and then[key] != now[key]}
    refused = sorted(changed - _MAY_CHANGE)
    if 'batch_size' in changed or 'processes' in changed:
        before, after = (facts['batch_size'] * facts['processes'] for facts in (then, now))
        if before != after:
            refused.append('batch_size x processes')
            then, now = {**then, 'batch_size x processes': before}, {**now, 'batch_size x processes': after}
    if refused:
        lines = '; '.join(f'{key}: {_short(then[key])} when saved, {_short(now[key])} now' for key in refused)
        raise RunMismatchError(
            f'this would not be the same run: {lines}. Use the config of the saved run, or start a new run from its '
            'weights with --cfg-options load_from=CHECKPOINT'
        )
    return {key: f'{key}: {_short(then[key])} when saved, {_short(now[key])} now' for key in sorted(changed)}


def _short(value: Any) -> str:
    text = (
        f'{len(value)} names ({", ".join(map(str, value[:3]))}, ...)'
        if isinstance(value, list)
        else str(value)
    )
    return text if len(text) < 160 else f'{text[:157]}...'
