"""The whole benchmark of one model: sweep, results, report."""

import copy
import errno
import os
import signal
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import barrier, init_dist, is_main_process

from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers
from mmseg_tapadl.engine.launching import prepare_processes
from mmseg_tapadl.robustness.example_strips import best_and_worst, examples_of
from mmseg_tapadl.robustness.report import write_report
from mmseg_tapadl.robustness.results import build_results, write_results
from mmseg_tapadl.robustness.sweep import Sweep, SweepOptions, prepare_sweep
from mmseg_tapadl.utils import DiskFullError, InputError, RunStopped, SampleError, shown


@plain_readers()
def measure(
    config: Config, options: SweepOptions, *, name: str | None = None, launcher: str = 'none'
) -> dict:
    """Runs (or continues) a sweep and writes ``robustness.json``, ``robustness.csv`` and ``report.html``.

    Args:
        config: Any mmseg 1.x config.
        options: What to measure.
        name: The model's name in the report; by default the config's.
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``.

    Returns:
        The content of ``robustness.json``.

    Raises:
        InputError: For a config, choice or data set that cannot be measured.
        SampleError: For a picture or label that cannot be used.
        SweepMismatch: When the work dir holds another sweep.
        RunStopped: On Ctrl-C; finished cells are kept.
        DiskFullError: When a result does not fit; finished cells are kept.
    """
    import mmseg_tapadl.register  # noqa: F401  what the config names

    _start_processes(config, launcher)
    try:
        sweep = prepare_sweep(config, options)
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError) as error:
        # What mmseg says of a config or a data set that cannot be built.
        raise InputError(f'{config.filename}: {error}') from error
    try:
        sweep.run(say=_say)
        return _write(sweep, name or Path(config.filename or 'model').stem)
    except SampleError as error:
        raise SampleError(f'{error}. {_kept(sweep)}') from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise DiskFullError(f'{options.work_dir}: the disk is full. {_kept(sweep)}') from error
    except KeyboardInterrupt as error:
        raise RunStopped(signal.SIGINT, f'interrupted. {_kept(sweep)}') from error


def _start_processes(config: Config, launcher: str) -> None:
    # A copy is fitted to the processes: what identifies the sweep is the config as written, in any number.
    fitted = copy.deepcopy(config)
    for note in prepare_processes(fitted, launcher):
        _say(note)
    if launcher != 'none' and not torch.distributed.is_initialized():
        init_dist(launcher, **(config.get('env_cfg') or {}).get('dist_cfg', {}))


def _kept(sweep: Sweep) -> str:
    finished = len(list((sweep.options.work_dir / 'cells').glob('*.json')))
    return f'{finished} of {len(sweep.cells)} cells are finished and kept; run the same command again to continue'


def _say(text: str) -> None:
    if is_main_process():
        print(text, flush=True)


def _write(sweep: Sweep, name: str) -> dict:
    facts = {
        'preset': sweep.options.preset,
        'config': sweep.config.filename,
        'checkpoint': os.path.abspath(sweep.options.checkpoint),
        'seed': sweep.options.seed,
        'channel_order': sweep.options.channel_order,
        'pictures': {'count': len(sweep.clean), 'sha256': sweep.store.identity['pictures']},
        'classes': sweep.classes,
        'sweep': sweep.store.digest,
        'versions': sweep.store.identity['versions'],
    }
    results = build_results(sweep.records, name=name, facts=facts)
    if is_main_process():
        written = write_results(results, sweep.options.work_dir)
        examples = {cell: examples_of(sweep, cell) for cell in dict.fromkeys(best_and_worst(sweep.records))}
        palette = dict(zip(sweep.classes, map(tuple, sweep.clean.metainfo['palette']), strict=True))
        written.append(
            write_report(
                results, Path(sweep.options.work_dir) / 'report.html', examples=examples, palette=palette
            )
        )
        _say(_summary(results))
        _say('\n'.join(f'wrote {shown(path)}' for path in written))
    barrier()
    return results


def _summary(results: dict) -> str:
    average = 'Cityscapes-C' if results['cityscapes_c_complete'] else 'average of corruptions'
    rpc = results['rPC']
    lines = [
        f'{"clean mIoU":<24}{results["clean"]["mIoU"]:7.2f}',
        f'{average:<24}{results["cityscapes_c"]:7.2f}',
        f'{"mPC":<24}{results["mPC"]:7.2f}',
        f'{"rPC":<24}{100 * rpc:7.2f} %' if rpc is not None else 'rPC is undefined',
    ]
    return '\n'.join(lines)
