"""Training from a config file, as ``tools/train.py`` does it and as Python may."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import RUNNERS
from mmseg.utils import register_all_modules

from mmseg_tapadl.agreement import check_agreement
from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, read_checkpoint
from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain, plain_readers, trust_checkpoint
from mmseg_tapadl.checkpoints.pretrained import check_encoder_coverage, start_encoder_from
from mmseg_tapadl.checkpoints.work_dir import newest_whole, refuse_used
from mmseg_tapadl.datasets.named_data import Named, name_of
from mmseg_tapadl.engine.any_device_amp import use_mixed_precision
from mmseg_tapadl.engine.config import ConfigError, load_config
from mmseg_tapadl.engine.counting import refuse_epochs
from mmseg_tapadl.engine.hooks.exact_resume_hook import ExactResumeHook
from mmseg_tapadl.engine.launching import prepare_processes
from mmseg_tapadl.engine.unusable_values import refuse_unusable
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.one_process import on_main_process

DataCheck = Callable[[Config, list[str]], None]


@plain_readers()
def train(
    config: str | os.PathLike,
    *,
    data: Named | None = None,
    work_dir: str | None = None,
    resume: str | None = None,
    allow_change: list[str] | None = None,
    pretrained: str | None = None,
    init_from: str | None = None,
    freeze: str | int | None = None,
    amp: bool = False,
    seed: int | None = None,
    cfg_options: list[str] | None = None,
    launcher: str = 'none',
    check_data: DataCheck | None = None,
    overwrite: bool = False,
    trust: bool = False,
) -> Any:
    """Trains what a config describes.

    Args:
        config: Config file.
        data: What to train and validate on in place of the config's data: a ``data.yaml`` (docs/own_data.md), a folder or
            a config.
        work_dir: Where checkpoints and logs go; None: ``work_dirs/<config name>``.
        resume: ``'auto'``: go on from the newest whole checkpoint in ``work_dir``, or start fresh when there
            is none; a path: go on from it; None: a new run.
        allow_change: Keys of the config, each for all that stands below it, whose change since the checkpoint is
            wanted; only with ``resume``.
        pretrained: Weights of the encoder to start from.
        init_from: Weights of a whole segmenter to start from: all that fits is taken, rows of a classifier by the names
            of their classes. A run that goes on from its own checkpoint does not read it.
        freeze: What of the encoder does not train: ``'encoder'``, ``'encoder-but-tap'``, ``'stem'`` or a number of
            blocks; None: as the config says.
        amp: Mixed precision.
        seed: The run's seed; None: the config's.
        cfg_options: Changes to the config, ``key=value``.
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``.
        check_data: Called with the config and the splits before anything is built; raises on faults.
        overwrite: Remove an older run from the work dir.
        trust: Run the programs inside the given checkpoints, with all rights.

    Returns:
        The runner, after the run.

    Raises:
        ConfigError, CheckpointError, RunMismatchError, NotFiniteError, DiskFullError, RunStopped.
    """
    cfg = load_config(config, cfg_options, data=data, used=('train', 'val'))
    if data is not None and not cfg.get('train_dataloader'):
        raise InputError(
            f'--data {name_of(data)}: has nothing to train on (no train:, or the config has no train_dataloader)'
        )
    register_all_modules(init_default_scope=True)
    refuse_unusable(cfg)
    refuse_epochs(cfg)
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(config).stem)
    if seed is not None:
        cfg.setdefault('randomness', {})['seed'] = seed
    if amp:
        use_mixed_precision(cfg.optim_wrapper)
    for path in (
        pretrained,
        init_from or cfg.get('init_from'),
        cfg.get('load_from'),
        None if resume == 'auto' else resume,
    ):
        if trust and path:
            trust_checkpoint(path)
    notes = _choose_start(cfg, resume, pretrained, init_from)
    if freeze is not None:
        cfg['freeze'] = int(freeze) if str(freeze).isdecimal() else freeze
    notes += check_agreement(cfg, ('train', 'val'))
    cfg.launch_notes = [*notes, *prepare_processes(cfg, launcher)]

    def prepare() -> None:
        Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
        if not resume:
            starts = [pretrained, cfg.get('init_from'), cfg.get('load_from')]
            refuse_used(cfg.work_dir, overwrite, needed=[path for path in starts if path])
        if check_data is not None:
            check_data(cfg, ['train', 'val'] if cfg.get('val_dataloader') else ['train'])

    on_main_process(prepare)
    if resume:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else resume
        _adopt_seed(cfg, resume, trust)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else None
    if runner is None:
        raise ConfigError(
            f"{config}: no runner_type; take it over from _base_/default_runtime.py (runner_type = 'TrustedRunner')"
        )
    if allow_change:
        _allow(runner, allow_change)
    if pretrained:
        check_encoder_coverage(runner, pretrained)
    runner.train()
    return runner


def _choose_start(
    cfg: Config, resume: str | None, pretrained: str | None, init_from: str | None
) -> list[str]:
    """Sets where the weights come from; returns notes for the log.

    Raises:
        ConfigError: Two starts at once.
        CheckpointError: A file that cannot be read.
    """
    if pretrained and init_from:
        raise ConfigError(
            f'--pretrained {pretrained} and --init-from {init_from}: give one; --init-from fills the encoder, too'
        )
    if init_from and resume and resume != 'auto':
        raise ConfigError(
            f'--resume {resume} goes on with all that is saved there: leave --init-from {init_from} out'
        )
    notes = []
    if init_from:
        if cfg.get('load_from'):
            notes.append(f'--init-from takes the place of load_from={cfg.load_from}')
        cfg.load_from = None
        cfg['init_from'] = init_from
    elif cfg.get('init_from') and cfg.get('load_from') and not resume:
        raise ConfigError(
            f'load_from={cfg.load_from} and init_from={cfg["init_from"]}: give one (load_from demands that everything fits)'
        )
    if pretrained:
        cfg['init_from'] = None
        start_encoder_from(cfg, pretrained)
    elif cfg.get('init_from') and not resume:
        load_plain(cfg['init_from'])  # before anything is written
    return notes


def _allow(runner: Any, keys: list[str]) -> None:
    """Tells the hook and not the config, whose copy in the work dir would allow the same for good."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, ExactResumeHook)]
    if not hooks:
        raise ConfigError(
            '--allow-change: the config has no ExactResumeHook, so that no change is looked for'
        )
    for hook in hooks:
        hook.allow_change = (*hook.allow_change, *keys)


def _adopt_seed(cfg: Config, resume: str, trust: bool) -> None:
    """Takes the seed of the run that goes on, before samplers are built from it."""
    if (cfg.get('randomness') or {}).get('seed') is not None:
        return
    try:
        path = newest_whole(cfg.work_dir, lambda text: None) if resume == 'auto' else resume
        saved = read_checkpoint(path, trust=trust) if path else {}
    except CheckpointError:
        return  # the runner reads it again and says what is wrong
    seed = (saved.get('meta') or {}).get('seed')
    if seed is not None:
        cfg.setdefault('randomness', {})['seed'] = seed
