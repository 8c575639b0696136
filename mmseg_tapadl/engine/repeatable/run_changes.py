"""What a changed setting means for a run that goes on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mmseg_tapadl.utils.config_values import ABSENT, NEUTRAL_KEYS, Change, changes_between

# Not worth a word: where the run writes, how it is started and logged, what only tests read; weights come from the
# checkpoint, and the facts of a run (run_facts.py) speak of what stands last.
_SILENT = (
    *(rf'(.+\.)?{key}' for key in sorted(NEUTRAL_KEYS)),
    r'(.+\.)?(pin_memory_device|multiprocessing_context)',
    r'launch_notes|load_from_strict|init_from|log_level|log_processor|visualizer|vis_backends|experiment_name|runner_type',
    r'custom_imports|test_dataloader|test_evaluator|test_cfg|test_pipeline|tta_model|tta_pipeline',
    r'(default_hooks|custom_hooks)\.(timer|logger|visualization|start_summary|metrics_json|return_memory)',
    r'(default_hooks|custom_hooks)\.(\w*LoggerHook|\w*VisualizationHook|EmptyCacheHook|ProfilerHook|SaveOverlaysHook|ReturnMemoryHook)',
    r'default_hooks\.exact_resume\.allow_change|custom_hooks\.ExactResumeHook\.allow_change',
    r'model\.(.+\.)?(init_cfg|pretrained)',
    r'train_dataloader\.batch_size|optim_wrapper\.accumulative_counts|optim_wrapper\.optimizer\.type',
    r'optim_wrapper\.type|train_cfg\.max_iters|randomness\.seed',
)
# Goes on, and the log says so: length, schedule, when and how it validates, speed.
_NOTED = (
    r'param_scheduler',
    r'train_cfg\.(val_interval|val_begin|dynamic_intervals|fast_forward_on_resume)',
    r'val_dataloader|val_evaluator|val_cfg|model\.(.+\.)?test_cfg',
    r'default_hooks\.(checkpoint|finite_guard|stop_signal|missed_validation|early_stopping)',
    r'custom_hooks\.(WholeCheckpointHook|FiniteGuardHook|StopSignalHook|MissedValidationHook|EarlyStoppingHook)',
    r'model\.(.+\.)?with_cp|activation_checkpointing|compile|env_cfg|default_scope|randomness\.deterministic',
    r'model_wrapper_cfg|find_unused_parameters|optim_wrapper\.optimizer\.(fused|foreach)',
)
# Makes it another run.
_STOPS = (
    r'model|freeze|data_preprocessor|train_dataloader|optim_wrapper|train_cfg|randomness|auto_scale_lr|sync_bn',
    r'efficient_conv_bn_eval|custom_hooks|default_hooks\.(runtime_info|param_scheduler|sampler_seed|exact_resume)',
)
# Variables that base configs share with the sections above, by which they act.
_VARIABLES = (
    r'norm_cfg|dataset_type|data_root|crop_size|scale|img_ratios|optimizer|max_iters|cudnn_benchmark',
    r'(\w+_)?(train|val)_pipeline(_\w+)?',
)
# A changed one of these decides the rate, so the schedule is followed anew from the start.
_RATE = (r'param_scheduler|optim_wrapper|auto_scale_lr',)
# Transforms of version 0.1: their names today, and what they were told that the data set tells today.
_FORMER_NAMES = {'CheckedLoadImageFromFile': 'LoadImageFromFile', 'CheckedLoadAnnotations': 'LoadAnnotations'}
_FORMER_ARGUMENTS = ('num_classes', 'ignore_index')
# One process has plain batch norm where several synchronise it (engine/launching.py).
_SAME_NORM = ('BN', 'SyncBN')
_TOO_COMMON = {bool, type(None)}


@dataclass
class Verdict:
    """The changes between a saved run and the one that goes on.

    Attributes:
        refused: What makes it another run and is not allowed.
        unknown: What nobody here knows and is not allowed.
        noted: What goes on with a word in the log.
        new_rate: Whether rates and schedule are to be taken from today's config.
    """

    refused: list[Change] = field(default_factory=list)
    unknown: list[Change] = field(default_factory=list)
    noted: list[Change] = field(default_factory=list)
    new_rate: bool = False


def judge(before: dict, now: dict, allowed: Iterable[str]) -> Verdict:
    """Sorts the changes of a config by what they mean.

    Args:
        before: The config of the saved run, of :func:`~mmseg_tapadl.utils.config_values.plain_values`.
        now: Today's.
        allowed: Keys, or the beginnings of keys, whose change is wanted.
    """
    allowed = tuple(allowed)
    verdict = Verdict()
    changes = list(changes_between(*(_todays_names(_hooks_by_name(config)) for config in (before, now))))
    known = [change for change in changes if _fits(change.key, (*_SILENT, *_NOTED, *_STOPS))]
    # A variable of the person's own is told by the key it fills, where both changed alike; but switches often do.
    told = [
        (c.before, c.now)
        for c in known
        if not {type(c.before), type(c.now)} & _TOO_COMMON and c.before != ABSENT
    ]
    for change in changes:
        key = change.key
        if _fits(key, _SILENT) or (change.before in _SAME_NORM and change.now in _SAME_NORM):
            continue
        if change not in known and (_fits(key, _VARIABLES) or (change.before, change.now) in told):
            continue
        if _fits(key, _NOTED) or is_allowed(key, allowed):
            verdict.noted.append(change)
            verdict.new_rate |= _fits(key, _RATE)
        elif _fits(key, _STOPS):
            verdict.refused.append(change)
        else:
            verdict.unknown.append(change)
    return verdict


def is_allowed(key: str, allowed: Iterable[str]) -> bool:
    """Whether a key is one of ``allowed`` or stands below one."""
    return any(key == name or key.startswith(f'{name}.') for name in allowed)


def _fits(key: str, patterns: tuple[str, ...]) -> bool:
    """Whether a key is what one of the patterns names, or stands below it."""
    return any(re.match(rf'(?:{pattern})(?:\.|$)', key) for pattern in patterns)


def _todays_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_todays_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    former = str(value.get('type')).rpartition('.')[2]
    if former in _FORMER_NAMES:
        kept = {key: item for key, item in value.items() if key not in _FORMER_ARGUMENTS}
        return {**kept, 'type': _FORMER_NAMES[former]}
    return {key: _todays_names(item) for key, item in value.items()}


def _hooks_by_name(config: dict) -> dict:
    """The config with ``custom_hooks`` under the names of their classes: their order says nothing."""
    named: dict[str, Any] = {}
    hooks = config.get('custom_hooks')
    for hook in hooks if isinstance(hooks, list) else []:
        name = str(hook.get('type', hook) if isinstance(hook, dict) else hook).rpartition('.')[2]
        while name in named:
            name += '+'
        named[name] = hook
    return {**config, 'custom_hooks': named}
