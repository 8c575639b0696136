"""Runs a model over the pictures of one cell and sums its counts up, on one process or on several.

Shape legend: C classes.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import torch
from mmengine.dist import get_rank, get_world_size
from torch.utils.data import DataLoader

from mmseg_tapadl.evaluation.class_counts import labels_of_sample, percentages
from mmseg_tapadl.evaluation.picture_score import score_picture
from mmseg_tapadl.evaluation.robustness_presets import Cell
from mmseg_tapadl.inference.interface import Prediction
from mmseg_tapadl.inference.temperature import at_temperature
from mmseg_tapadl.robustness.bootstrap import pack, resampled_miou
from mmseg_tapadl.robustness.cell_counts import CellCounts
from mmseg_tapadl.robustness.cell_data import SECONDS
from mmseg_tapadl.robustness.measured_model import Answer, MeasuredModel
from mmseg_tapadl.robustness.small_pictures import SmallPicture, SmallPictures

_T = TypeVar('_T')


@dataclass
class Stopwatch:
    """Where the seconds of a cell went, in this process and its workers.

    Attributes:
        model: Predicting.
        waiting: This process had nothing to do but wait for pictures.
        corruption: Corrupting pictures, summed over the workers.
        loading: Reading and preparing pictures beside corrupting them, summed over the workers.
    """

    model: float = 0.0
    waiting: float = 0.0
    corruption: float = 0.0
    loading: float = 0.0

    def timed(self, what: str, items: Iterable[_T]) -> Iterator[_T]:
        """Passes items on and adds the time that getting each took to ``what``."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                setattr(self, what, getattr(self, what) + time.perf_counter() - start)
            yield item


@dataclass
class CellResult:
    """A measured cell.

    Attributes:
        counts: Of all its pictures.
        conditions: Of the pictures of each condition, where the data set has conditions and they are told apart.
        pictures: Small copies.
        watch: Where the time went.
    """

    counts: CellCounts
    conditions: dict[str, CellCounts]
    pictures: list[SmallPicture]
    watch: Stopwatch


@torch.no_grad()
def run_cell(
    model: MeasuredModel,
    loader: DataLoader,
    *,
    classes: list[str],
    ignore_index: int = 255,
    void_source: str = 'ignore_index',
    temperature: float | None = None,
    conditions: Sequence[str] = (),
    names: Sequence[str] = (),
    sample: frozenset[int] | None = None,
    on_pictures: Callable[[int], None] = lambda count: None,
) -> CellResult:
    """Predicts and counts this process's share of a cell, then adds all processes' counts up.

    Args:
        model: What is measured.
        loader: From :func:`mmseg_tapadl.robustness.cell_data.loader_for`.
        classes: Names of the C classes.
        ignore_index: Label value whose pixels do not count.
        void_source: Names what says ``ignore_index``, in errors.
        temperature: Of the probabilities; None: as the model gives them.
        conditions: The condition of every picture of the data set; empty: they are not told apart.
        names: What names every picture of the data set; needed with ``sample``.
        sample: Numbers of the pictures of which small copies are kept, beside the worst; None: of none at all.
        on_pictures: Told the number of pictures after every batch.

    Returns:
        The counts and small pictures of the whole cell, the same on every process.
    """
    watch = Stopwatch()
    groups = {name: CellCounts(len(classes)) for name in sorted(set(conditions) or {''})}
    pictures = None if sample is None else SmallPictures(sample)
    for indices, batch in zip(loader.batch_sampler, watch.timed('waiting', loader), strict=True):
        for place, answer, prediction in watch.timed('model', _answers(model, batch)):
            index = indices[place]
            condition = conditions[index] if conditions else ''
            predicted, labelled, source = labels_of_sample(answer.to_dict())
            if temperature is not None:
                prediction = at_temperature(prediction, temperature, answer.metainfo['img_path'])
            score = score_picture(
                predicted,
                labelled,
                num_classes=len(classes),
                ignore_index=ignore_index,
                source=source,
                void_source=void_source,
                **_probabilities(prediction),
            )
            groups[condition].add(index, score)
            corruption, loading = answer.metainfo.get(SECONDS, (0.0, 0.0))
            watch.corruption += corruption
            watch.loading += loading
            if pictures is not None:
                pictures.add(
                    index,
                    name=names[index],
                    condition=condition,
                    labelled_pixels=score.labelled,
                    wrong_pixels=score.wrong,
                    picture=_first_variant(batch['inputs'])[place],
                    predicted=predicted,
                    labelled=labelled,
                    num_classes=len(classes),
                    ignore_index=ignore_index,
                )
        on_pictures(len(indices))
    total = CellCounts(len(classes))
    for counts in groups.values():
        counts.gather(model.device)
        total += counts
    return CellResult(
        counts=total,
        conditions=groups if conditions else {},
        pictures=pictures.gather() if pictures is not None else [],
        watch=watch,
    )


def _answers(model: MeasuredModel, batch: dict) -> Iterator[Answer]:
    """The model's answers, each computed when it is given."""
    for answer in model.answers(batch):
        if model.device.type == 'cuda':
            torch.cuda.synchronize()
        yield answer


def _probabilities(prediction: Prediction) -> dict[str, torch.Tensor | None]:
    if prediction.logits is not None:
        return {'logits': prediction.logits}
    return {'probabilities': prediction.probabilities, 'confidence': prediction.confidence}


def _first_variant(inputs: Sequence) -> Sequence[torch.Tensor]:
    """The pictures of a batch; under test time augmentation those of the first variant."""
    return inputs if isinstance(inputs[0], torch.Tensor) else inputs[0]


def cell_record(cell: Cell, result: CellResult, classes: list[str], seconds: float) -> dict:
    """What is saved of a finished cell: percentages in full precision (None: undefined), counts and resamples.

    Args:
        cell: Which cell.
        result: Of the whole cell.
        classes: Names of the C classes.
        seconds: The time it took.
    """
    record = {
        'corruption': cell.corruption,
        'severity': cell.severity,
        **_numbers(result.counts, classes),
        'seconds': round(seconds, 3),
        'seconds_of': {key: round(value, 3) for key, value in asdict(result.watch).items()},
        'finished': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
    }
    if result.conditions:
        record['conditions'] = {name: _numbers(counts, classes) for name, counts in result.conditions.items()}
    return record


def _numbers(counts: CellCounts, classes: list[str]) -> dict:
    scores = percentages(counts.sums)
    known = counts.known_confidence
    none = counts.confusion[:, -1].tolist()
    return {
        'mIoU': _number(scores.miou),
        'aAcc': _number(scores.aacc),
        'IoU': {name: _number(value) for name, value in zip(classes, scores.iou, strict=True)},
        'pixels': {
            key: dict(zip(classes, row, strict=True))
            for key, row in zip(('right', 'predicted', 'labelled'), counts.sums.tolist(), strict=True)
        },
        'confusion': counts.confusion[:, :-1].tolist(),
        **({'predicted_none': none} if any(none) else {}),
        'confidence': known and known.metrics(),
        'reliability': known and known.reliability(),
        'pictures': counts.pictures,
        'resampled_mIoU': pack(resampled_miou(counts.resampled)),
    }


def rank_and_processes() -> tuple[int, int]:
    """This process's number and how many there are."""
    return get_rank(), get_world_size()


def _number(value: float) -> float | None:
    value = float(value)
    return None if math.isnan(value) else value
