"""The pictures of each condition on which a model loses most, with what it saw, said and should have said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.robustness.cell_details import DetailsFile
from mmseg_tapadl.robustness.small_pictures import WORST
from mmseg_tapadl.robustness.small_views import label_uri, picture_uri, wrong_uri
from mmseg_tapadl.robustness.sweep import Sweep

RULE = (
    f'Of each condition the {WORST} pictures with the most wrong labelled pixels; of equals the one that comes first in the '
    'data set. The share is that of all wrong labelled pixels of the condition. Corruptions are shown at their highest '
    'measured severity.'
)


@dataclass(frozen=True)
class WrongPicture:
    """One of the worst pictures; images are data URIs of small copies.

    Attributes:
        name: What names it.
        share: Of the condition's wrong labelled pixels, 0 to 1.
        wrong: Of its own labelled pixels, 0 to 1.
        images: By caption.
    """

    name: str
    share: float
    wrong: float
    images: dict[str, str]


@dataclass(frozen=True)
class WorstOfCondition:
    """The worst pictures of a condition.

    Attributes:
        title: For people.
        pictures: The worst first; none where nothing is wrong.
        corrupted: Whether they are corrupted ones.
        share: Of all wrong labelled pixels of the condition, of these pictures together.
    """

    title: str
    pictures: list[WrongPicture]
    corrupted: bool

    @property
    def share(self) -> float:
        """What these pictures are of the condition's loss."""
        return sum(picture.share for picture in self.pictures)


def worst_pictures(sweep: Sweep) -> Iterator[WorstOfCondition]:
    """The worst pictures of every condition, one condition at a time."""
    palette = sweep.clean.metainfo['palette']
    for cell in sweep.shown_cells:
        details = sweep.store.details(cell)
        if details is None:
            continue
        record = sweep.records[cell]
        groups = record.get('conditions') or {'': record}
        for condition, numbers in groups.items():
            # Not from the confusions: a prediction of no class stands in none of their columns.
            loss = sum(numbers['pixels']['labelled'].values()) - sum(numbers['pixels']['right'].values())
            yield WorstOfCondition(
                title=condition or _title(cell),
                pictures=_worst_of(details, condition if 'conditions' in record else None, loss, palette),
                corrupted=cell != CLEAN,
            )


def _title(cell: Cell) -> str:
    return 'clean' if cell == CLEAN else f'{cell.corruption.replace("_", " ")}, severity {cell.severity}'


def _worst_of(
    details: DetailsFile, condition: str | None, loss: int, palette: Sequence[Sequence[int]]
) -> list[WrongPicture]:
    chosen = [
        facts
        for facts in details.pictures
        if facts['wrong'] and (condition is None or facts['condition'] == condition)
    ]
    chosen = sorted(chosen, key=lambda facts: (-facts['wrong'], facts['index']))[:WORST]
    found = []
    for facts in chosen:
        small = details.small(facts)
        found.append(
            WrongPicture(
                name=small.name,
                share=small.wrong / loss,
                wrong=small.wrong / small.labelled,
                images={
                    'Input': picture_uri(small),
                    'Prediction': label_uri(small.prediction, palette),
                    'Label': label_uri(small.label, palette),
                    'Wrong': wrong_uri(small, len(palette)),
                },
            )
        )
    return found
