"""The config of each variant of a study: what it changes is there, is read, and makes it another than the others."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, PARAM_SCHEDULERS
from mmseg.utils import register_all_modules

from mmseg_tapadl.agreement import check_agreement
from mmseg_tapadl.checkpoints.pretrained import start_encoder_from
from mmseg_tapadl.engine.building import building
from mmseg_tapadl.engine.config import drop_stray_deletes, load_config, unread_options
from mmseg_tapadl.engine.counting import refuse_epochs
from mmseg_tapadl.engine.unusable_values import refuse_unusable
from mmseg_tapadl.robustness.cell_data import with_test_data
from mmseg_tapadl.studies.known_keys import unread_keys
from mmseg_tapadl.studies.study_file import Study, StudyError
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.config_values import changes_between, digest_of, plain_values, without_neutral
from mmseg_tapadl.utils.dataset_tree import leaf_datasets

_BUILT = ('model', 'optim_wrapper', 'param_scheduler')
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Where a run writes, what it says and what it keeps: nothing that is measured depends on it.
_NO_RESULT = frozenset(
    {
        *('log_level', 'log_processor', 'visualizer', 'vis_backends', 'experiment_name', 'launch_notes'),
        *('tta_model', 'tta_pipeline', 'val_dataloader', 'val_evaluator'),
    }
)
_NO_RESULT_HOOKS = frozenset(
    {
        *('timer', 'logger', 'visualization', 'start_summary', 'metrics_json', 'return_memory', 'checkpoint'),
    }
)


@dataclass(frozen=True)
class Variant:
    """A variant, ready to run.

    Attributes:
        name: As the study calls it.
        config: The whole config.
        text: The same as a Python file.
        weights: How many numbers its model has.
    """

    name: str
    config: Config
    text: str
    weights: int

    @property
    def max_iters(self) -> int:
        """Iterations of a training."""
        return int(self.config.train_cfg.max_iters)


def resolve_variants(study: Study) -> dict[str, Variant]:
    """Every variant's config, checked as far as can be without a run.

    Raises:
        StudyError: Naming file, variant and key: what :func:`configs_of` refuses, a config that cannot be trained, a model, an
            optimizer or a schedule that cannot be built.
    """
    weights: dict[str, int] = {}
    variants = {}
    for name, config in configs_of(study).items():
        _keep_last_only(config)
        with naming(f'{study.file}: variants.{name}'):
            _check_trainable(study, config)
            built = digest_of([plain_values(config.get(key)) for key in _BUILT])
            if built not in weights:
                weights[built] = _build(config)
            variants[name] = Variant(name, config, as_file(config), weights[built])
    return variants


def configs_of(study: Study) -> dict[str, Config]:
    """The config of every variant: what it changes is there, is read, and makes it another than the others.

    Raises:
        StudyError: A change that cannot be made, a key that nothing reads, a variant that changes nothing a result depends on,
            two that are alike.
    """
    register_all_modules(init_default_scope=False)
    base = _base(study)
    plain_base = result_config(base)
    configs: dict[str, Config] = {}
    plain: dict[str, dict] = {}
    for name, changes in study.variants.items():
        where = f'{study.file}: variants.{name}'
        config = _changed(base, changes, where)
        plain[name] = result_config(config)
        if changes and not _matters(plain_base, plain[name]):
            raise StudyError(
                f'{where}: changes nothing that a result depends on ({", ".join(changes)}); the unchanged config is a '
                'variant by itself (baseline)'
            )
        for other in configs:
            if not _matters(plain[other], plain[name]):
                raise StudyError(f'{where}: is the same as the variant {other}')
        configs[name] = config
    return configs


def acdc_config(study: Study, variant: Variant) -> Config:
    """A variant's config with the study's ACDC as test data, scored by condition."""
    assert study.acdc is not None
    config = with_test_data(variant.config, study.acdc)
    evaluator = config.test_evaluator
    kinds = [part.get('type') for part in (evaluator if isinstance(evaluator, list) else [evaluator])]
    if 'ConditionIoUMetric' not in kinds:
        config.test_evaluator = dict(type='ConditionIoUMetric')
    return config


def _base(study: Study) -> Config:
    described = study.data is not None and Path(study.data).suffix in ('.yaml', '.yml')
    base = load_config(study.base, data=study.data if described else None)
    if not base.get('train_cfg') or not base.get('train_dataloader') or not base.get('test_dataloader'):
        raise StudyError(
            f'{study.file}: base: {study.base} cannot be trained and tested (train_cfg, train_dataloader, test_dataloader)'
        )
    changed = _changed(base, study.changes, f'{study.file}: changes')
    if study.changes and not _matters(result_config(base), result_config(changed)):
        raise StudyError(
            f'{study.file}: changes: nothing that a result depends on is changed ({", ".join(study.changes)})'
        )
    if study.data is not None and not described:
        for loader in _LOADERS:
            for leaf in leaf_datasets((changed.get(loader) or {}).get('dataset') or {}):
                if 'data_root' in leaf:
                    leaf['data_root'] = study.data
    return changed


def _changed(base: Config, changes: dict[str, Any], where: str) -> Config:
    config = copy.deepcopy(base)
    if not changes:
        return config
    if 'randomness.seed' in changes or 'seed' in (changes.get('randomness') or {}):
        raise StudyError(f'{where}.randomness.seed: the study names its seeds by seeds')
    try:
        config.merge_from_dict(copy.deepcopy(changes))
    except (KeyError, IndexError, TypeError, ValueError, AssertionError) as error:
        text = ' '.join(str(error.args[0] if error.args else error).split())
        raise StudyError(f'{where}: {", ".join(changes)} cannot be changed so: {text}') from error
    drop_stray_deletes(config._cfg_dict)
    found = changes_between(plain_values(base.to_dict()), plain_values(config.to_dict()))
    for sentence in unread_keys(config, found):
        raise StudyError(f'{where}: {sentence}')
    # A variable of the file is there, and is read no more.
    for note in unread_options(config, [f'{key}=0' for key in changes]):
        raise StudyError(f'{where}: {note.removeprefix("--cfg-options ")}')
    return config


def result_config(config: Config) -> dict[str, Any]:
    """What a result can depend on, as plain values: nothing of where a run writes, says and keeps."""
    plain = plain_values(without_neutral(config.to_dict()))
    kept = {key: value for key, value in plain.items() if key not in _NO_RESULT}
    hooks = kept.get('default_hooks') or {}
    kept['default_hooks'] = {key: value for key, value in hooks.items() if key not in _NO_RESULT_HOOKS}
    return {**kept, 'load_from': config.get('load_from')}


def _matters(before: dict, now: dict) -> bool:
    return any(True for _ in changes_between(before, now))


def _keep_last_only(config: Config) -> None:
    """A study reads the last checkpoint alone: two are kept during the run, and none for being the best."""
    hook = (config.get('default_hooks') or {}).get('checkpoint')
    if hook and hook.get('type') == 'WholeCheckpointHook':
        hook.update(max_keep_ckpts=2, save_best=None)


def _check_trainable(study: Study, config: Config) -> None:
    """What ``tools/train.py`` refuses before it looks at the data, for a copy."""
    config = copy.deepcopy(config)
    init_default_scope(config.get('default_scope', 'mmseg'))
    if 'runner_type' not in config:
        raise InputError(
            "no runner_type; take it over from _base_/default_runtime.py (runner_type = 'TrustedRunner')"
        )
    refuse_unusable(config)
    refuse_epochs(config)
    if study.pretrained is not None:
        if not Path(study.pretrained).is_file():
            raise InputError(f'pretrained: no such file {study.pretrained}')
        start_encoder_from(config, study.pretrained)
    check_agreement(config, ('train', 'val'))


def _build(config: Config) -> int:
    """Builds what a training builds before its first step; returns how many numbers the model has."""
    config = copy.deepcopy(config)
    with building(config, 'model'):
        model = MODELS.build(config.model)
    with building(config, 'optim_wrapper'):
        optimizer = build_optim_wrapper(model, config.optim_wrapper)
    schedulers = config.get('param_scheduler') or []
    for number, scheduler in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
        with building(config, f'param_scheduler.{number}'):
            PARAM_SCHEDULERS.build(scheduler, default_args={'optimizer': optimizer})
    return sum(parameter.numel() for parameter in model.parameters())


def as_file(config: Config) -> str:
    """A config as a Python file that says the same.

    Raises:
        InputError: For a config that holds what no file can.
    """
    # mmengine's own text is the same for people, and takes a second to lay out.
    text = ''.join(
        f'{key} = {pformat(value, width=110, sort_dicts=False)}\n' for key, value in config.to_dict().items()
    )
    try:
        again = Config.fromstring(text, '.py').to_dict()
    except Exception as error:
        raise InputError(f'the config cannot be written into a file: {error}') from error
    for change in changes_between(plain_values(config.to_dict()), plain_values(again)):
        raise InputError(f'{change.key}: {change.before!r} cannot be written into a file')
    return text


@contextmanager
def naming(where: str) -> Iterator[None]:
    """While a part of a study is checked: an input error begins with where the part stands."""
    try:
        yield
    except StudyError:
        raise
    except InputError as error:
        raise StudyError(f'{where}: {error}') from error
