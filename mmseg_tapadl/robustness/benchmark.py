"""The whole benchmark of one model: sweep, results, report."""

import copy
import errno
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier, init_dist, is_main_process

from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers
from mmseg_tapadl.datasets.named_data import read_data
from mmseg_tapadl.engine.building import BUILD_ERRORS, config_error
from mmseg_tapadl.engine.launching import prepare_processes
from mmseg_tapadl.inference.adapters.python_function import PythonFunction
from mmseg_tapadl.inference.checked import PredictionError
from mmseg_tapadl.inference.interface import PicturePredictor
from mmseg_tapadl.robustness.example_strips import best_and_worst, examples_of
from mmseg_tapadl.robustness.measured_model import MeasuredConfig, MeasuredModel, MeasuredPredictor
from mmseg_tapadl.robustness.published import is_cityscapes_val
from mmseg_tapadl.robustness.report import write_report
from mmseg_tapadl.robustness.results import build_results, write_results
from mmseg_tapadl.robustness.sweep import Sweep, SweepOptions, prepare_sweep
from mmseg_tapadl.robustness.worst_pictures import worst_pictures
from mmseg_tapadl.utils import DiskFullError, InputError, RunStopped, SampleError, shown


@plain_readers()
def measure(
    model: Config | PicturePredictor | Callable,
    data: SweepOptions | str | os.PathLike | Mapping[str, Any] | Config,
    *,
    preset: str = 'cityscapes-c',
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] | None = None,
    work_dir: str | os.PathLike | None = None,
    seed: int = 0,
    channel_order: str = 'bgr',
    pregenerated: str | None = None,
    class_map: Mapping[str, str | None] | None = None,
    fresh: bool = False,
    temperature: float | str | os.PathLike | None = None,
    pictures: Sequence[str] = (),
    name: str | None = None,
    launcher: str = 'none',
) -> dict:
    """Runs (or continues) a sweep and writes ``robustness.json``, ``robustness.csv`` and ``report.html``.

    Args:
        model: A predictor (:mod:`mmseg_tapadl.inference.interface`), a function ``predict(image)``
            (:class:`~mmseg_tapadl.inference.adapters.python_function.PythonFunction`), or any mmseg 1.x config.
        data: What to measure a predictor or function on, as
            :func:`~mmseg_tapadl.datasets.named_data.read_data` takes it. With a config: :class:`SweepOptions`, in
            place of the arguments up to ``pictures``.
        preset: A key of :data:`~mmseg_tapadl.evaluation.robustness_presets.PRESETS`.
        corruptions: Only these, None for the preset's.
        severities: Only these, None for the preset's.
        work_dir: Where cells and results go; by default ``work_dirs/<name>_robustness/<preset>``.
        seed: Of the random corruptions.
        channel_order: ``'bgr'`` or ``'rgb'``: how the corruptions get the picture; the model always gets RGB.
        pregenerated: A pre-generated Cityscapes-C to read corrupted pictures from.
        class_map: Name of the model: name of the data set (or None), where they are not the same but for case,
            spaces, ``_`` and ``-``.
        fresh: Throw the cells of a former sweep away.
        temperature: Of the probabilities, a number or a file of ``tools/calibrate.py``; None: as the model gives them.
        pictures: Ends of names of pictures of which small copies are kept for comparisons, however many there are.
        name: The model's name in the report; by default the config's, or the predictor's.
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``.

    Returns:
        The content of ``robustness.json``.

    Raises:
        InputError: For a config, choice or data set that cannot be measured, a model of other classes.
        PredictionError: For a model that failed or gave what is no prediction; it names the picture.
        SampleError: For a picture or label that cannot be used.
        SweepMismatch: When the work dir holds another sweep.
        RunStopped: On Ctrl-C; finished cells are kept.
        DiskFullError: When a result does not fit; finished cells are kept.
    """
    import mmseg_tapadl.register  # noqa: F401  what the config names

    if isinstance(data, SweepOptions):
        if not isinstance(model, Config):
            raise InputError(
                'SweepOptions go with a config; give a predictor its data set and the choices by name'
            )
        options = data
        measured: MeasuredModel = MeasuredConfig(model, str(options.checkpoint))
        measured.name = name or measured.name
    else:
        if isinstance(model, Config):
            raise InputError(
                'a config needs SweepOptions(checkpoint=..., work_dir=...) as the second argument'
            )
        predictor = model if isinstance(model, PicturePredictor) else PythonFunction(model)
        name = name or predictor.name
        options = SweepOptions(
            checkpoint=None,
            work_dir=Path(work_dir or default_work_dir(name, preset)),
            preset=preset,
            corruptions=None if corruptions is None else list(corruptions),
            severities=None if severities is None else list(severities),
            seed=seed,
            channel_order=channel_order,
            pregenerated=pregenerated,
            fresh=fresh,
            temperature=temperature,
            pictures=tuple(pictures),
        )
        measured = MeasuredPredictor(predictor, read_data(data), name=name, class_map=class_map)
        if predictor.unknown:
            _say(f'note: {predictor.unknown}')
    return _measure(measured, options, launcher)


def default_work_dir(name: str, preset: str) -> Path:
    """``work_dirs/<name>_robustness/<preset>``, the name as a file may bear it."""
    return Path('work_dirs') / f'{re.sub(r"[^-.+=@,()0-9A-Za-z]+", "_", name)}_robustness' / preset


def _measure(model: MeasuredModel, options: SweepOptions, launcher: str) -> dict:
    _start_processes(model.config, launcher)
    try:
        sweep = prepare_sweep(model, options)
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f'{model.config.filename or model.name}: {error}') from error
    except BUILD_ERRORS as error:
        raise config_error(model.config, model.name, error) from error
    try:
        sweep.run(say=_say)
        return _write(sweep)
    except SampleError as error:
        # The same command would meet the same file again.
        raise SampleError(f'{error}. {_finished(sweep)}') from error
    except PredictionError as error:
        raise PredictionError(f'{error}. {_kept(sweep)}') from error
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


def _finished(sweep: Sweep) -> str:
    finished = len(list((sweep.options.work_dir / 'cells').glob('*.json')))
    return f'{finished} of {len(sweep.cells)} cells are finished and kept'


def _kept(sweep: Sweep) -> str:
    return f'{_finished(sweep)}; run the same command again to continue'


def _say(text: str) -> None:
    if is_main_process():
        print(text, flush=True)


def _write(sweep: Sweep) -> dict:
    palette = dict(zip(sweep.classes, map(tuple, sweep.clean.metainfo['palette']), strict=True))
    facts = {
        'preset': sweep.options.preset,
        **sweep.model.facts(),
        'seed': sweep.options.seed,
        'channel_order': sweep.options.channel_order,
        'temperature': _temperature_facts(sweep),
        'pictures': {
            'count': len(sweep.clean),
            'sha256': sweep.store.identity['pictures'],
            'cityscapes_val': is_cityscapes_val(sweep.names),
        },
        'classes': sweep.classes,
        'palette': {name: list(colour) for name, colour in palette.items()},
        'sweep': sweep.store.digest,
        'versions': sweep.store.identity['versions'],
    }
    results = build_results(sweep.records, name=sweep.model.name, facts=facts, confidence_of=sweep.confidence)
    if is_main_process():
        written = write_results(results, sweep.options.work_dir)
        examples = {cell: examples_of(sweep, cell) for cell in dict.fromkeys(best_and_worst(sweep.records))}
        written.append(
            write_report(
                results,
                Path(sweep.options.work_dir) / 'report.html',
                examples=examples,
                palette=palette,
                worst=worst_pictures(sweep),
            )
        )
        _say(_summary(results))
        _say('\n'.join(f'wrote {shown(path)}' for path in written))
    barrier()
    return results


def _temperature_facts(sweep: Sweep) -> dict[str, Any] | None:
    """The temperature of the confidence, and whether one half of these pictures was what it was fitted on."""
    found = sweep.temperature
    if found is None:
        return None
    seen = found.pictures and found.pictures == sweep.store.identity['pictures']
    return {'value': found.value, 'file': found.file, 'fitted_on_half_of_these': bool(seen)}


def _summary(results: dict) -> str:
    average = 'Cityscapes-C' if results['cityscapes_c_complete'] else 'average of corruptions'
    rpc = results['rPC']
    lines = [
        f'{"clean mIoU":<24}{results["clean"]["mIoU"]:7.2f}',
        f'{average:<24}{results["cityscapes_c"]:7.2f}',
        f'{"worst corruption":<24}{results["worst_corruption"]["mIoU"]:7.2f}   {results["worst_corruption"]["name"]}',
        f'{"mPC":<24}{results["mPC"]:7.2f}',
        f'{"rPC":<24}{100 * rpc:7.2f} %' if rpc is not None else 'rPC is undefined',
    ]
    seconds = results['time']
    lines.append(
        f'{seconds["model"]:.0f} s predicting, {seconds["waiting"]:.0f} s waiting for pictures; the workers corrupted for '
        f'{seconds["corruption"]:.0f} s and loaded for {seconds["loading"]:.0f} s'
    )
    return '\n'.join(lines)
