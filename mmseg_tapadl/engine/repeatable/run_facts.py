"""The facts that make a run this run: stored in its checkpoints, compared when it goes on."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.hooks import EMAHook

from mmseg_tapadl.engine.errors import RunMismatchError
from mmseg_tapadl.engine.repeatable.run_changes import Verdict, is_allowed, judge
from mmseg_tapadl.engine.run_state import optim_wrappers
from mmseg_tapadl.utils.config_values import Change, plain_values

# What goes on with a note: it changes speed, length or the last bits, but not the meaning.
_MAY_CHANGE = {'max_iters', 'schedule', 'processes', 'batch_size', 'threads', 'device'}
_GLOBAL_BATCH = 'train_dataloader.batch_size x processes'
# The key by which a change of a fact is allowed; a fact without one cannot change within a run.
_KEYS = {
    _GLOBAL_BATCH: 'train_dataloader.batch_size',
    'accumulate': 'optim_wrapper.accumulative_counts',
    'amp': 'optim_wrapper.type',
    'pictures': 'train_dataloader.dataset',
}
_OF_THE_LAUNCH = ('launch_notes',)


@dataclass
class Comparison:
    """What goes on although it changed.

    Attributes:
        notes: Sentences for the log.
        new_rate: Whether rates and schedule are to be taken from today's config.
    """

    notes: list[str] = field(default_factory=list)
    new_rate: bool = False


def facts_of(runner: Any) -> dict[str, Any]:
    """Plain facts of a training run.

    Returns:
        ``seed``, ``processes``, ``batch_size`` (per process), ``accumulate``, ``max_iters``,
        ``schedule`` (the param_scheduler as JSON text), ``optimizer``, ``classes``, ``pictures``,
        ``amp``, ``ema``, ``device``, ``threads``, and ``config``: all of it as plain values.
    """
    dataset = runner.train_dataloader.dataset
    wrappers = optim_wrappers(runner)
    config = {key: value for key, value in runner.cfg.to_dict().items() if key not in _OF_THE_LAUNCH}
    return {
        'seed': runner.seed,
        'processes': runner.world_size,
        'batch_size': runner.train_dataloader.batch_size,
        'accumulate': wrappers[0]._accumulative_counts,
        'max_iters': runner.max_iters,
        'schedule': json.dumps(runner.cfg.get('param_scheduler'), sort_keys=True, default=str),
        'optimizer': ', '.join(type(wrapper.optimizer).__name__ for wrapper in wrappers),
        'classes': list(getattr(dataset, 'metainfo', {}).get('classes') or []),
        'pictures': len(dataset),
        'amp': type(wrappers[0]).__name__,
        'device': next(runner.model.parameters()).device.type,
        'threads': torch.get_num_threads(),
        'ema': any(isinstance(hook, EMAHook) for hook in runner.hooks),
        'config': plain_values(config),
    }


def compare_facts(
    checkpoint: dict, now: dict[str, Any], *, has_ema: bool, allowed: Iterable[str] = ()
) -> Comparison:
    """Finds what changed since a checkpoint was saved.

    Args:
        checkpoint: As read; files that this toolkit did not write have no facts and are not compared.
        now: Today's :func:`facts_of`.
        has_ema: Whether today's run averages weights.
        allowed: Keys of the config, or the beginnings of keys, whose change is wanted.

    Returns:
        The changes that are tolerated.

    Raises:
        RunMismatchError: In one line, with every change that would make it another run: key, old and new value.
    """
    allowed = tuple(allowed)
    then = checkpoint.get('meta', {}).get('run')
    if ('ema_state_dict' in checkpoint) != has_ema:
        was, is_now = ('with', 'has no') if not has_ema else ('without', 'has an')
        raise RunMismatchError(
            f'the checkpoint was saved {was} averaged weights (EMAHook) and this config {is_now} EMAHook; '
            'going on would mix averaged and plain weights'
        )
    # Where the settings of then are not known, wanted rates cannot be told from old ones: they are taken as asked.
    unseen = any(is_allowed(name, ('optim_wrapper',)) for name in allowed)
    if not isinstance(then, dict):
        text = 'the checkpoint does not tell batch size, schedule and classes: they cannot be compared'
        return Comparison([text], new_rate=unseen)
    has_config = isinstance(then.get('config'), dict)
    verdict = (
        judge(plain_values(then['config']), now['config'], allowed)
        if has_config
        else Verdict(new_rate=unseen)
    )
    changed = {key for key in now if key in then and then[key] != now[key]} - {'config'}
    refused = sorted(changed - _MAY_CHANGE)
    if 'batch_size' in changed or 'processes' in changed:
        before, after = (facts['batch_size'] * facts['processes'] for facts in (then, now))
        if before != after:
            refused.append(_GLOBAL_BATCH)
            then, now = {**then, _GLOBAL_BATCH: before}, {**now, _GLOBAL_BATCH: after}
    wanted = [fact for fact in refused if fact in _KEYS and is_allowed(_KEYS[fact], allowed)]
    stops = [Change(fact, then[fact], now[fact]) for fact in refused if fact not in wanted]
    _stop(stops, verdict)
    # The config says it key by key.
    spoken = {'schedule'} if has_config else set()
    facts = [Change(fact, then[fact], now[fact]) for fact in sorted(changed - spoken)]
    comparison = Comparison([str(change) for change in [*facts, *verdict.noted]])
    comparison.new_rate = verdict.new_rate or 'schedule' in changed or _GLOBAL_BATCH in wanted
    if not has_config:
        comparison.notes.append(
            'the checkpoint was written before settings were stored: learning rate, weight decay, model, augmentation '
            'and data_root of then cannot be compared with those of now'
        )
    return comparison


def _stop(facts: list[Change], verdict: Verdict) -> None:
    """Raises with all that must not change unasked, and with what to do."""
    lines = [*map(str, facts), *map(str, verdict.refused)]
    if verdict.unknown:
        lines.append(f'keys that this toolkit does not know: {"; ".join(map(str, verdict.unknown))}')
    if not lines:
        return
    keys = [_KEYS[change.key] for change in facts if change.key in _KEYS]
    keys += [change.key for change in [*verdict.refused, *verdict.unknown]]
    fixed = [change.key for change in facts if change.key not in _KEYS]
    if fixed:
        way = f'{", ".join(fixed)} cannot change within a run'
    else:
        way = (
            f'or, where the change is wanted, go on with it by --allow-change {" ".join(dict.fromkeys(keys))}'
        )
    raise RunMismatchError(
        f'this would not be the same run: {"; ".join(lines)}. Use the config of the saved run; {way}; '
        'or start a new run from its weights with --cfg-options load_from=CHECKPOINT'
    )
