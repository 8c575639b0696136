"""Testing a checkpoint, as ``tools/test.py`` does it and as Python may."""

import os
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.registry import RUNNERS
from mmseg.utils import register_all_modules

from mmseg_tapadl.agreement import check_agreement
from mmseg_tapadl.checkpoints.checkpoint_io import check_whole
from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain, plain_readers, trust_checkpoint
from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.datasets.named_data import Named, name_of
from mmseg_tapadl.engine.config import ConfigError, load_config
from mmseg_tapadl.engine.launching import prepare_processes
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.one_process import on_main_process


@plain_readers()
def test(
    config: str | os.PathLike,
    checkpoint: str,
    *,
    data: Named | None = None,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
    cfg_options: list[str] | None = None,
    launcher: str = 'none',
    check_data: Callable[[Config, list[str]], None] | None = None,
    trust: bool = False,
) -> dict[str, float]:
    """Tests a checkpoint on the test set of a config.

    Args:
        config: Config file.
        data: What to test on in place of the config's data: a ``data.yaml`` (its ``test``, else its ``val``; see
            docs/own_data.md), a folder or a config.
        checkpoint: ``.pth`` or ``.safetensors``; must cover every key of the model.
        work_dir: Where ``metrics.json`` and the log go; None: ``work_dirs/<config name>``.
        out: Folder for predicted label maps (8-bit PNG, train ids), named after the pictures' paths.
        show_dir: Folder for overlays.
        tta: Average over the scales and flips of ``tta_pipeline``.
        cfg_options: Changes to the config, ``key=value``.
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``.
        check_data: Called with the config and the splits before anything is built; raises on faults.
        trust: Run the program inside the checkpoint, with all rights.

    Returns:
        The metrics in percent, unrounded.

    Raises:
        ConfigError, CheckpointError, RunMismatchError, SampleError.
    """
    cfg = load_config(config, cfg_options, data=data, used=('test',))
    if data is not None and not cfg.get('test_dataloader'):
        raise InputError(f'--data {name_of(data)}: has nothing to test on')
    register_all_modules(init_default_scope=True)
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(config).stem)
    if trust:
        trust_checkpoint(checkpoint)
    elif '://' not in checkpoint:
        check_whole(checkpoint)
    meta = {} if '://' in checkpoint else load_plain(checkpoint).get('meta')
    for note in check_agreement(
        cfg, ('test',), weights=checkpoint, trained=dataset_meta_of(meta).get('classes')
    ):
        print_log(note, logger='current')
    cfg.load_from = checkpoint
    cfg.resume = False
    # What only a training needs would be built for nothing.
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg[key] = None
    if (cfg.model.get('backbone') or {}).get('init_cfg'):
        cfg.model.backbone.init_cfg = None
    if tta:
        _use_tta(cfg)
    hooks = []
    if out:
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        if evaluators[0]['type'] == 'ACDCSubmission':  # has a layout of its own
            evaluators[0]['output_dir'] = out
        else:
            hooks.append(dict(type='SaveLabelsHook', folder=out))
    if show_dir:
        hooks.append(dict(type='SaveOverlaysHook', folder=show_dir))
    if hooks:
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *hooks]
    cfg.launch_notes = prepare_processes(cfg, launcher)
    if check_data is not None:
        check = check_data
        on_main_process(lambda: check(cfg, ['test']))
    if 'runner_type' not in cfg:
        raise ConfigError(
            f"{config}: no runner_type; take it over from _base_/default_runtime.py (runner_type = 'TrustedRunner')"
        )
    return RUNNERS.build(cfg).test()


def _use_tta(cfg: Config) -> None:
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if missing:
        raise ConfigError(f'--tta: the config has no {" and no ".join(missing)}')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model
