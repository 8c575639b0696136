"""What a cell's pictures add up to; its size is independent of their number.

Shape legend: B resamples, C classes.
"""

import numpy as np
import torch
from mmengine.dist import all_reduce, get_world_size

from mmseg_tapadl.evaluation.class_counts import counts_of_confusion
from mmseg_tapadl.evaluation.confidence import ConfidenceCounts
from mmseg_tapadl.evaluation.picture_score import PictureScore
from mmseg_tapadl.robustness.bootstrap import RESAMPLES, poisson_weights


class CellCounts:
    """Sums over the pictures of a cell, or of one condition in it.

    Attributes:
        confusion: (C, C + 1) pixels, rows are labels; the last column holds predictions that are no class.
        resampled: (B, 3, C) right, predicted and labelled pixels under the bootstrap's weights.
        confidence: Right and wrong pixels by confidence.
        pictures: How many there were.
        sure: Of how many of them the confidence is known.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self.confusion: np.ndarray = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        self.resampled: np.ndarray = np.zeros((RESAMPLES, 3, num_classes), dtype=np.int64)
        self.confidence = ConfidenceCounts()
        self.pictures = 0
        self.sure = 0

    @property
    def sums(self) -> np.ndarray:
        """(3, C) right, predicted and labelled pixels."""
        return counts_of_confusion(self.confusion)

    @property
    def known_confidence(self) -> ConfidenceCounts | None:
        """The confidence; None where that of a picture is not known."""
        return self.confidence if self.sure == self.pictures and self.pictures else None

    def add(self, picture: int, score: PictureScore) -> None:
        """Adds picture number ``picture``."""
        self.confusion += score.confusion
        self.resampled += poisson_weights(picture)[:, None, None] * counts_of_confusion(score.confusion)
        self.pictures += 1
        if score.confidence is not None:
            self.confidence += score.confidence
            self.sure += 1

    def __iadd__(self, other: 'CellCounts') -> 'CellCounts':
        self.confusion += other.confusion
        self.resampled += other.resampled
        self.confidence += other.confidence
        self.pictures += other.pictures
        self.sure += other.sure
        return self

    def gather(self, device: torch.device) -> None:
        """Adds the processes' sums up; integers, so that their number changes nothing."""
        if get_world_size() == 1:
            return
        parts = (self.confusion, self.resampled, self.confidence.pack(), np.array([self.pictures, self.sure]))
        total = torch.from_numpy(np.concatenate([part.ravel() for part in parts])).to(device)
        all_reduce(total)
        places = np.cumsum([part.size for part in parts])[:-1]
        confusion, resampled, confidence, numbers = np.split(total.cpu().numpy(), places)
        self.confusion = confusion.reshape(self.confusion.shape)
        self.resampled = resampled.reshape(self.resampled.shape)
        self.confidence = ConfidenceCounts.unpack(confidence)
        self.pictures, self.sure = (int(number) for number in numbers)
