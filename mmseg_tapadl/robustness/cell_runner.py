"""Runs a model over the pictures of one cell and sums its counts up, on one process or on several.

Shape legend: B resamples, C classes.
"""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch.utils.data import DataLoader

from mmseg_tapadl.evaluation.class_counts import percentages, score_sample
from mmseg_tapadl.evaluation.robustness_presets import Cell
from mmseg_tapadl.robustness.bootstrap import RESAMPLES, pack, poisson_weights, resampled_miou
from mmseg_tapadl.robustness.measured_model import MeasuredModel


class CellCounts:
    """Sums of pixel counts of a cell, plain and resampled; their size is independent of the number of pictures.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self.sums: np.ndarray = np.zeros((3, num_classes), dtype=np.int64)
        self.resampled: np.ndarray = np.zeros((RESAMPLES, 3, num_classes), dtype=np.int64)
        self.pictures = 0

    def add(self, picture: int, counts: torch.Tensor) -> None:
        """Adds picture number ``picture``, (3, C) counts."""
        counts = counts.numpy()
        self.sums += counts
        self.resampled += poisson_weights(picture)[:, None, None] * counts
        self.pictures += 1

    def gather(self, device: torch.device) -> None:
        """Adds the processes' sums up; integers, so that their number changes nothing."""
        if get_world_size() == 1:
            return
        flat = np.concatenate([self.sums.ravel(), self.resampled.ravel(), [self.pictures]])
        total = torch.from_numpy(flat).to(device)
        all_reduce(total)
        sums, resampled, pictures = np.split(
            total.cpu().numpy(), [self.sums.size, self.sums.size + self.resampled.size]
        )
        self.sums = sums.reshape(self.sums.shape)
        self.resampled = resampled.reshape(self.resampled.shape)
        self.pictures = int(pictures[0])


@torch.no_grad()
def run_cell(
    model: MeasuredModel,
    loader: DataLoader,
    *,
    classes: list[str],
    ignore_index: int = 255,
    on_pictures: Callable[[int], None] = lambda count: None,
) -> CellCounts:
    """Predicts and counts this process's share of a cell, then adds all processes' counts up.

    Args:
        model: What is measured.
        loader: From :func:`mmseg_tapadl.robustness.cell_data.loader_for`.
        classes: Names of the C classes.
        ignore_index: Label value whose pixels do not count.
        on_pictures: Told the number of pictures after every batch.

    Returns:
        The counts of the whole cell, the same on every process.
    """
    counts = CellCounts(len(classes))
    for indices, batch in zip(loader.batch_sampler, loader, strict=True):
        for place, sample, _ in model.answers(batch):
            scored = score_sample(sample.to_dict(), num_classes=len(classes), ignore_index=ignore_index)
            counts.add(indices[place], scored)
        on_pictures(len(indices))
    counts.gather(model.device)
    return counts


def cell_record(cell: Cell, counts: CellCounts, classes: list[str], seconds: float) -> dict:
    """What is saved of a finished cell: percentages in full precision (None: undefined), counts and resamples.

    Args:
        cell: Which cell.
        counts: Of the whole cell.
        classes: Names of the C classes.
        seconds: The time it took.
    """
    scores = percentages(counts.sums)
    return {
        'corruption': cell.corruption,
        'severity': cell.severity,
        'mIoU': _number(scores.miou),
        'aAcc': _number(scores.aacc),
        'IoU': {name: _number(value) for name, value in zip(classes, scores.iou, strict=True)},
        'pixels': {
            key: dict(zip(classes, row, strict=True))
            for key, row in zip(('right', 'predicted', 'labelled'), counts.sums.tolist(), strict=True)
        },
        'pictures': counts.pictures,
        'resampled_mIoU': pack(resampled_miou(counts.resampled)),
        'seconds': round(seconds, 3),
        'finished': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
    }


def rank_and_processes() -> tuple[int, int]:
    """This process's number and how many there are."""
    return get_rank(), get_world_size()


def _number(value: float) -> float | None:
    value = float(value)
    return None if math.isnan(value) else value
