"""The steps of a run: ordinary calls of the tools, one after the other, and how far each is."""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.checkpoints.work_dir import checkpoints_in, newest_whole, step_of
from mmseg_tapadl.evaluation.robustness_presets import PRESETS, Cell, select_cells
from mmseg_tapadl.studies.run_folder import RunFolder
from mmseg_tapadl.studies.study_file import Study

TRAIN, TEST, SWEEP, ACDC = 'train', 'test', 'sweep', 'acdc'
CONFIG, ACDC_CONFIG = 'config.py', 'acdc_config.py'


@dataclass(frozen=True)
class Step:
    """One call of a tool.

    Attributes:
        name: Of the step; its files lie in the folder of this name in the run's.
        tool: File in ``tools/``.
        cells: What a sweep measures beside the clean pictures, else nothing.
        choice: The options by which the sweep's tool is asked for these cells.
    """

    name: str
    tool: str
    cells: tuple[Cell, ...] = ()
    choice: tuple[str, ...] = ()


def steps_of(study: Study) -> list[Step]:
    """The steps of each of a study's runs, in order.

    A sweep measures the clean pictures too, so that only a study without corruptions needs the test.
    """
    steps = [Step(TRAIN, 'train.py')]
    for number, (cells, choice) in enumerate(sweeps_of(study.cells), start=1):
        name = SWEEP if number == 1 else f'{SWEEP}_{number}'
        steps.append(Step(name, 'test_robustness.py', cells, choice))
    if not study.cells:
        steps.append(Step(TEST, 'test.py'))
    if study.acdc is not None:
        steps.append(Step(ACDC, 'test.py'))
    return steps


def sweeps_of(cells: Sequence[Cell]) -> list[tuple[tuple[Cell, ...], tuple[str, ...]]]:
    """Cells in as few parts as one call of the sweep's tool can be asked for, with the options that ask.

    A preset is one call; else there is one for each choice of severities.
    """
    if not cells:
        return []
    for preset in PRESETS:
        if sorted(cells) == sorted(select_cells(preset)):
            return [(tuple(cells), ('--preset', preset))]
    severities: dict[str, list[int]] = {}
    for cell in cells:
        severities.setdefault(cell.corruption, []).append(cell.severity)
    alike: dict[tuple[int, ...], list[str]] = {}
    for corruption, chosen in severities.items():
        alike.setdefault(tuple(sorted(chosen)), []).append(corruption)
    return [
        (
            tuple(Cell(corruption, severity) for corruption in corruptions for severity in chosen),
            ('--corruptions', *corruptions, '--severities', *map(str, chosen)),
        )
        for chosen, corruptions in alike.items()
    ]


def command_of(step: Step, run: RunFolder, study: Study, checkpoint: Path | None) -> list[str]:
    """The words after ``python`` and the tool."""
    folder = run.path / step.name
    if step.name == TRAIN:
        # Without a checkpoint to go on from it is a start, which load_from of the config is part of.
        start = '--resume' if _can_go_on(folder) else '--overwrite'
        words = [str(run.path / CONFIG), '--work-dir', str(folder), '--seed', str(run.seed), start]
        words += ['--pretrained', study.pretrained] if study.pretrained else []
        return words + (['--amp'] if study.amp else [])
    config = ACDC_CONFIG if step.name == ACDC else CONFIG
    words = [str(run.path / config), str(checkpoint), '--work-dir', str(folder)]
    return words + ([*step.choice, '--name', run.name] if step.cells else [])


def _can_go_on(folder: Path) -> bool:
    try:
        return newest_whole(folder, lambda text: None) is not None
    except CheckpointError:  # there are some, and none is whole
        return False


def last_checkpoint(run: RunFolder, max_iters: int) -> Path | None:
    """The checkpoint after the last iteration; None where the training has not come there."""
    found = checkpoints_in(run.path / TRAIN)
    return found[0] if found and step_of(found[0]) == max_iters else None


def fraction_of(step: Step, run: RunFolder, max_iters: int) -> float:
    """How much of a step is done, 0 to 1, by what it has written."""
    folder = run.path / step.name
    if step.name == TRAIN:
        return min(_last_iteration(folder) / max_iters, 1.0)
    if step.cells:
        return min(len(list((folder / 'cells').glob('*.json'))) / (len(step.cells) + 1), 1.0)
    return 0.0


def training_log(folder: Path) -> dict[int, dict]:
    """What a training wrote of its losses, by iteration; a part that was trained again counts once."""
    entries: dict[int, dict] = {}
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in file.read_text(encoding='utf-8').splitlines():
            entry = _entry(line)
            if 'loss' in entry:
                entries[int(entry.get('iter', entry.get('step', 0)))] = entry
    return dict(sorted(entries.items()))


def _last_iteration(folder: Path) -> int:
    files = sorted(folder.glob('*/vis_data/scalars.json'))
    if not files:
        return 0
    with open(files[-1], encoding='utf-8') as file:
        entry = _entry(next(iter(deque(file, maxlen=1)), ''))
    return int(entry.get('iter', entry.get('step', 0)))


def _entry(line: str) -> dict:
    try:
        value = json.loads(line)
    except ValueError:  # still being written
        return {}
    return value if isinstance(value, dict) else {}
