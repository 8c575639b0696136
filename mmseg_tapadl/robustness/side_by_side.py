"""The same pictures as several models labelled them, from the small copies that their sweeps kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.robustness.cell_details import DamagedDetails, DetailsFile
from mmseg_tapadl.robustness.cell_store import details_file
from mmseg_tapadl.robustness.results import ResultError
from mmseg_tapadl.robustness.small_pictures import MOST
from mmseg_tapadl.robustness.small_views import label_uri, picture_uri

_MOST = 12
RULE = (
    f'Of the pictures that every model kept (up to {MOST} are all kept) the {_MOST}, over all conditions that are shown, '
    'with the largest difference between the best and the worst model in the share of right labelled pixels, and those that '
    'were asked for. Corruptions are shown at their highest measured severity.'
)


@dataclass(frozen=True)
class SideBySide:
    """One picture of one condition; images are data URIs.

    Attributes:
        title: The picture's name and condition.
        picture: As the models saw it.
        label: In the classes' colours.
        predictions: In the order of the models: the image, and the share of labelled pixels that are right.
    """

    title: str
    picture: str
    label: str
    predictions: list[tuple[str, float]]


def side_by_side(
    files: Sequence[str],
    models: Sequence[dict],
    palette: Sequence[Sequence[int]],
    named: Sequence[str] = (),
) -> list[SideBySide]:
    """The pictures of the largest differences, and those that were named.

    Args:
        files: The ``robustness.json`` of each model; ``details/`` lies beside it.
        models: Their content.
        palette: RGB of each class.
        named: Ends of names of pictures that are shown in every condition.

    Returns:
        Empty where a model has no details, and none were named.

    Raises:
        ResultError: For details that are missing where pictures are named, damaged or of another sweep, and for a named
            picture that is not among those that were kept.
    """
    folders = [Path(file).parent for file in files]
    cells = _shown_cells(models[0])
    missing = [details_file(folder, cell) for folder in folders for cell in cells]
    missing = [path for path in missing if not path.exists()]
    if missing:
        if named:
            raise ResultError(f'{missing[0]} is missing: pictures can be shown only from a whole work dir')
        return []
    found: list[tuple[float, Cell, str]] = []
    asked: list[tuple[float, Cell, str]] = []
    for cell in cells:
        shares = [
            _right_shares(_open(folder, cell, model)) for folder, model in zip(folders, models, strict=True)
        ]
        common = [name for name in shares[0] if all(name in share for share in shares)]
        for name in common:
            values = [share[name] for share in shares]
            entry = (max(values) - min(values), cell, name)
            found.append(entry)
            if any(name.endswith(end) for end in named):
                asked.append(entry)
    for end in named:
        if not any(name.endswith(end) for _, _, name in asked):
            raise ResultError(
                f'no picture whose name ends in {end!r} was kept by every model; run tools/test_robustness.py again as before '
                f'with --pictures {end}: it measures what lacks the picture'
            )
    worst = sorted((entry for entry in found if entry[0] > 0), key=lambda entry: -entry[0])[:_MOST]
    chosen = [*asked, *(entry for entry in worst if entry not in asked)]
    return [_view(cell, name, folders, models, palette) for _, cell, name in chosen]


def _shown_cells(results: dict) -> list[Cell]:
    highest: dict[str, Cell] = {}
    for cell in sorted(Cell(c['corruption'], c['severity']) for c in results['cells']):
        highest[cell.corruption] = cell
    return [CLEAN, *(highest[name] for name in results['corruptions'])]


def _open(folder: Path, cell: Cell, model: dict) -> DetailsFile:
    try:
        details = DetailsFile(details_file(folder, cell))
    except DamagedDetails as error:
        raise ResultError(str(error)) from error
    if details.sweep != model['sweep']:
        raise ResultError(f'{details.path} belongs to another sweep than the robustness.json beside it')
    return details


def _right_shares(details: DetailsFile) -> dict[str, float]:
    return {
        facts['name']: 1 - facts['wrong'] / facts['labelled']
        for facts in details.pictures
        if facts['labelled']
    }


def _view(
    cell: Cell, name: str, folders: Sequence[Path], models: Sequence[dict], palette: Sequence[Sequence[int]]
) -> SideBySide:
    smalls = []
    for folder, model in zip(folders, models, strict=True):
        details = _open(folder, cell, model)
        try:
            smalls.append(details.small(next(facts for facts in details.pictures if facts['name'] == name)))
        except DamagedDetails as error:
            raise ResultError(str(error)) from error
    condition = 'clean' if cell == CLEAN else f'{cell.corruption.replace("_", " ")}, severity {cell.severity}'
    return SideBySide(
        title=f'{condition}: {name}',
        picture=picture_uri(smalls[0]),
        label=label_uri(smalls[0].label, palette),
        predictions=[
            (label_uri(small.prediction, palette), 1 - small.wrong / small.labelled) for small in smalls
        ],
    )
