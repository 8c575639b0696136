"""What one picture adds to a cell: which class was taken for which, and how sure the model was where.

Shape legend: C classes, H rows, W columns.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmseg_tapadl.evaluation.class_counts import confusion_matrix, counted_pixels
from mmseg_tapadl.evaluation.confidence import ConfidenceCounts, levels_of
from mmseg_tapadl.evaluation.probabilities import check_probabilities, confidence_and_error, squared_error


class PictureScore(NamedTuple):
    """The counts of one picture.

    Attributes:
        confusion: (C, C + 1) int64, rows are labels; the last column holds predictions that are no class.
        confidence: None where the model does not tell.
    """

    confusion: np.ndarray
    confidence: ConfidenceCounts | None

    @property
    def labelled(self) -> int:
        """Pixels that count."""
        return int(self.confusion.sum())

    @property
    def wrong(self) -> int:
        """Pixels that count and are of another class than predicted."""
        return self.labelled - int(self.confusion.trace())


def score_picture(
    predicted: Tensor,
    labelled: Tensor,
    *,
    num_classes: int,
    ignore_index: int = 255,
    source: str = '',
    void_source: str = 'ignore_index',
    logits: Tensor | None = None,
    probabilities: Tensor | None = None,
    confidence: Tensor | None = None,
) -> PictureScore:
    """Counts one picture. Of the last three, the first that is given is used.

    Args:
        predicted: (H, W), class numbers, or ``NO_CLASS`` where the model chose what the data set does not have.
        labelled: (H, W), class numbers or ``ignore_index``.
        num_classes: C.
        ignore_index: Label value whose pixels do not count.
        source: Names the picture in errors.
        void_source: Names what says ``ignore_index``, in errors.
        logits: (C, H, W); the probabilities are their softmax.
        probabilities: (C, H, W).
        confidence: (H, W), the probability of ``predicted``.

    Raises:
        SampleError: When the sizes differ, or a label or a prediction is no class.
        ProbabilityError: For probabilities that are NaN or none.
    """
    counted, guess, target = counted_pixels(
        predicted,
        labelled,
        num_classes=num_classes,
        ignore_index=ignore_index,
        source=source,
        void_source=void_source,
    )
    confusion = confusion_matrix(guess, target, num_classes)
    error = None
    if logits is not None:
        ids = torch.where(counted, labelled, 0).flatten().long()
        confidence, error = confidence_and_error(
            logits.flatten(1), predicted.flatten().long(), ids, counted.flatten()
        )
        confidence = confidence.view(predicted.shape)
    elif probabilities is not None:
        check_probabilities(probabilities, source)
        confidence = probabilities.gather(0, predicted[None].long())[0]
        error = squared_error(probabilities[:, counted], target)
    if confidence is None:
        return PictureScore(confusion, None)
    counts = ConfidenceCounts()
    counts.add(levels_of(confidence, source)[counted], guess == target, error)
    return PictureScore(confusion, counts)
