"""Pixel counts per class, and the percentages made from them.

Shape legend: C classes; counts are int64 and add up over pictures and processes without rounding, in any order.
"""

from typing import NamedTuple

import numpy as np
import torch

from mmseg_tapadl.utils import SampleError

# What nearly every label map calls void, and the last of Cityscapes' labelIds, which are often taken for train ids.
_USUAL_VOID, _LAST_LABEL_ID = 255, 33
INTERSECT, PREDICTED, LABELLED = 0, 1, 2
NO_CLASS = -1
"""A prediction that is none of the data set's classes: wrong whatever the label is."""


class Percentages(NamedTuple):
    """What the counts of a set of pictures amount to, in percent, unrounded.

    Attributes:
        miou: Mean over the classes that occur in labels or predictions; NaN when none does.
        aacc: The share of labelled pixels that are right; NaN without labelled pixels.
        iou: (C,), NaN for a class that neither occurs nor is predicted.
        acc: (C,), NaN for a class that does not occur.
    """

    miou: float
    aacc: float
    iou: np.ndarray
    acc: np.ndarray


def counted_pixels(
    predicted: torch.Tensor,
    labelled: torch.Tensor,
    *,
    num_classes: int,
    ignore_index: int = 255,
    source: str = '',
    void_source: str = 'ignore_index',
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The pixels of one picture that count, after a look at both: the one check of a label and its prediction.

    Args:
        predicted: (H, W), class numbers or :data:`NO_CLASS`.
        labelled: (H, W), class numbers or ``ignore_index``.
        num_classes: C.
        ignore_index: Label value whose pixels do not count.
        source: Names the picture in errors.
        void_source: Names what says ``ignore_index``, in errors.

    Returns:
        (H, W) bool, which they are; (N,) int64, their predictions; (N,) int64, their labels.

    Raises:
        SampleError: When the sizes differ, a label is neither a class nor ``ignore_index``, or the prediction of a pixel
            that counts is no class.
    """
    if predicted.shape != labelled.shape:
        raise SampleError(
            f'{source}: the label map is {tuple(labelled.shape)}, the prediction {tuple(predicted.shape)}; '
            'the label must have the size of its picture'
        )
    kept = labelled != ignore_index
    target = labelled[kept].long()
    guess = predicted[kept].long()
    if target.numel() and (int(target.max()) >= num_classes or int(target.min()) < 0):
        wrong = sorted({value for value in target.unique().tolist() if not 0 <= value < num_classes})
        raise SampleError(
            f'{source}: label values {wrong[:8]} are neither a class (0 to {num_classes - 1}) nor {ignore_index}, the id of '
            f'void by {void_source}; {_advice(wrong, ignore_index)}'
        )
    if guess.numel() and (int(guess.max()) >= num_classes or int(guess.min()) < NO_CLASS):
        wrong = sorted({value for value in guess.unique().tolist() if not NO_CLASS <= value < num_classes})
        raise SampleError(
            f'{source}: class {wrong[0]} was predicted, the data set has {num_classes} (0 to {num_classes - 1})'
        )
    return kept, guess, target


def _advice(wrong: list[int], ignore_index: int) -> str:
    if wrong == [_USUAL_VOID]:
        return f'if {_USUAL_VOID} is void, write ignore_index={_USUAL_VOID} there, or leave it out'
    if ignore_index == _USUAL_VOID and len(wrong) == 1:
        return f'if {wrong[0]} is void, write ignore_index={wrong[0]} in the data set'
    if max(wrong) <= _LAST_LABEL_ID:
        return 'are these labelIds instead of labelTrainIds?'
    return 'correct the label, or the number of classes'


def class_counts(
    predicted: torch.Tensor,
    labelled: torch.Tensor,
    *,
    num_classes: int,
    ignore_index: int = 255,
    source: str = '',
) -> torch.Tensor:
    """Counts one picture.

    Args: as for :func:`counted_pixels`.

    Returns:
        (3, C) int64 on the CPU: pixels where both agree, pixels predicted as, pixels labelled as the class.

    Raises:
        SampleError: As there.
    """
    _, guess, target = counted_pixels(
        predicted, labelled, num_classes=num_classes, ignore_index=ignore_index, source=source
    )
    agreed = torch.bincount(target[target == guess], minlength=num_classes)
    return torch.stack(
        [
            agreed,
            torch.bincount(guess[guess != NO_CLASS], minlength=num_classes),
            torch.bincount(target, minlength=num_classes),
        ]
    ).cpu()


def confusion_matrix(guess: torch.Tensor, target: torch.Tensor, num_classes: int) -> np.ndarray:
    """How many pixels of each class were predicted as which.

    Args:
        guess: (N,) int64, predictions, 0 to C - 1, or :data:`NO_CLASS`.
        target: (N,) int64, labels, 0 to C - 1.
        num_classes: C.

    Returns:
        (C, C + 1) int64: rows are labels, columns predictions, the last those that are no class.
    """
    columns = num_classes + 1
    column = torch.where(guess == NO_CLASS, num_classes, guess)
    counts = torch.bincount(target * columns + column, minlength=num_classes * columns)
    return counts.cpu().numpy().reshape(num_classes, columns)


def counts_of_confusion(confusion: np.ndarray) -> np.ndarray:
    """The (3, C) counts of :func:`class_counts` from a confusion matrix (C, C + 1)."""
    return np.stack([confusion.diagonal(), confusion.sum(axis=0)[:-1], confusion.sum(axis=1)])


def percentages(counts: np.ndarray | torch.Tensor) -> Percentages:
    """Percentages of (3, C) summed counts."""
    counts = np.asarray(counts, dtype=np.float64)
    agreed, labelled = counts[INTERSECT], counts[LABELLED]
    union = counts[PREDICTED] + labelled - agreed
    with np.errstate(invalid='ignore', divide='ignore'):
        iou = 100 * agreed / union
        acc = 100 * agreed / labelled
        aacc = float(100 * agreed.sum() / labelled.sum())
    miou = float(np.nanmean(iou)) if not np.isnan(iou).all() else float('nan')
    return Percentages(miou=miou, aacc=aacc, iou=iou, acc=acc)


def labels_of_sample(data_sample: dict) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Prediction and label, both (H, W) on the prediction's device, of an mmseg data sample, and the label's file.

    Args:
        data_sample: As a dict, with ``pred_sem_seg`` and ``gt_sem_seg``.

    Raises:
        SampleError: When it has no label (a test split without labels).
    """
    image, label = data_sample.get('img_path', 'a picture'), data_sample.get('seg_map_path')
    if 'gt_sem_seg' not in data_sample:
        raise SampleError(
            f'{image} has no label: this split is without labels and cannot '
            'be evaluated; use a labelled split (val), and see that the test pipeline has LoadAnnotations'
        )
    predicted = data_sample['pred_sem_seg']['data'].squeeze(0)
    source = f'{label} (label of {image})' if label else image
    return predicted, data_sample['gt_sem_seg']['data'].squeeze(0).to(predicted.device), source


def score_sample(data_sample: dict, *, num_classes: int, ignore_index: int) -> torch.Tensor:
    """Counts one mmseg data sample (as a dict) with ``pred_sem_seg`` and ``gt_sem_seg``.

    Raises:
        SampleError: When it has no label (a test split without labels), or one that cannot be scored.
    """
    predicted, labelled, source = labels_of_sample(data_sample)
    return class_counts(
        predicted, labelled, num_classes=num_classes, ignore_index=ignore_index, source=source
    )
