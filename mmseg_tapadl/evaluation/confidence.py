"""How sure a model is and whether it is right to be: metrics from two count arrays, whatever the number of pixels.

Every labelled pixel has a confidence, the probability of the predicted class, on one of 65,536 levels; level l means
(l + 0.5) / 65536. How many right and how many wrong pixels stand on each level gives every curve exactly; no pixel is
kept, and the counts of processes and cells add up. Definitions and levels are those of the BRAVO challenge
(arXiv 2409.15107): pixels of one level are one step of a curve, bins hold whole levels.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from mmseg_tapadl.utils import SampleError, shown

LEVELS = 1 << 16
BINS = 15
WRONG, RIGHT = 0, 1
# Squared errors are summed in units of 2**-16: whole numbers, so that the order of the pictures changes nothing.
_BRIER_UNITS = 1 << 16


class ProbabilityError(SampleError):
    """Probabilities that are none; the message names the picture."""


def levels_of(confidence: Tensor, source: str = '') -> Tensor:
    """The level of every confidence, as 16-bit pictures of confidence hold it: 65535 for 1.

    Args:
        confidence: Floating, 0 to 1; any shape.
        source: Names the picture in errors.

    Returns:
        int32, 0 to 65535, of the same shape.

    Raises:
        ProbabilityError: For NaN, or values beyond 0 to 1 by more than rounding.
    """
    confidence = confidence.float()
    if confidence.numel():
        low, high = (float(value) for value in torch.aminmax(confidence))
        if math.isnan(low):
            raise ProbabilityError(
                f'{shown(source)}: the model gave NaN as the probability of its prediction'
            )
        if low < -1e-3 or high > 1 + 1e-3:
            raise ProbabilityError(
                f'{shown(source)}: the model gave probabilities from {low:.4g} to {high:.4g}; '
                'they must lie in 0 to 1'
            )
    return (confidence * LEVELS).to(torch.int32).clamp_(0, LEVELS - 1)


class ConfidenceCounts:
    """Right and wrong pixels on each level, and the sum of squared errors where all probabilities are known.

    Attributes:
        levels: (2, 65536) int64, wrong and right pixels.
        brier_sum: Sum over ``brier_pixels`` pixels of the squared distance of the probabilities from the truth, in units
            of 2**-16.
        brier_pixels: How many of the pixels had all probabilities.
    """

    def __init__(self) -> None:
        self.levels: np.ndarray = np.zeros((2, LEVELS), dtype=np.int64)
        self.brier_sum = 0
        self.brier_pixels = 0

    def add(self, levels: Tensor, right: Tensor, squared_error: float | None = None) -> None:
        """Adds a picture.

        Args:
            levels: (N,), int, of its labelled pixels.
            right: (N,), bool.
            squared_error: Sum over the pixels of sum_c (p_c - y_c)^2; None where not all probabilities are known.
        """
        index = levels + right.to(levels.dtype) * LEVELS
        self.levels += torch.bincount(index, minlength=2 * LEVELS).cpu().numpy().reshape(2, LEVELS)
        if squared_error is not None:
            self.brier_sum += round(squared_error * _BRIER_UNITS)
            self.brier_pixels += levels.numel()

    def __iadd__(self, other: 'ConfidenceCounts') -> 'ConfidenceCounts':
        self.levels += other.levels
        self.brier_sum += other.brier_sum
        self.brier_pixels += other.brier_pixels
        return self

    @property
    def pixels(self) -> int:
        """How many pixels were counted."""
        return int(self.levels.sum())

    def pack(self) -> np.ndarray:
        """(2 * 65536 + 2,) int64: all counts in one array, which adds up as the counts do."""
        return np.concatenate([self.levels.ravel(), [self.brier_sum, self.brier_pixels]])

    @classmethod
    def unpack(cls, packed: np.ndarray) -> 'ConfidenceCounts':
        """What :meth:`pack` packed."""
        counts = cls()
        counts.levels = np.array(packed[:-2], dtype=np.int64).reshape(2, LEVELS)
        counts.brier_sum, counts.brier_pixels = (int(value) for value in packed[-2:])
        return counts

    def metrics(self) -> dict[str, float | None] | None:
        """``ece``, ``auroc``, ``fpr95``, ``aupr_success``, ``aupr_error`` and ``brier``, as fractions.

        None in place of a number that is undefined: all without pixels; without wrong or without right pixels the
        curves that need both. ``brier`` is the mean of sum_c (p_c - y_c)^2, 0 to 2; None unless every pixel had all
        probabilities.

        Returns:
            None when no pixel was counted.
        """
        pixels = self.pixels
        if not pixels:
            return None
        wrong, right = self.levels
        complete = self.brier_pixels == pixels
        return {
            'ece': expected_calibration_error(self.levels),
            **_roc(wrong, right),
            # A wrong pixel counts as found when the confidence is low.
            'aupr_success': average_precision(right[::-1], wrong[::-1]),
            'aupr_error': average_precision(wrong, right),
            'brier': self.brier_sum / _BRIER_UNITS / pixels if complete else None,
        }

    def reliability(self) -> list[tuple[int, int, float | None]]:
        """Of each bin the number of pixels, how many of them are right, and their mean confidence (None without any)."""
        return reliability(self.levels)


def reliability(levels: np.ndarray) -> list[tuple[int, int, float | None]]:
    """Of each of the 15 bins: pixels, right pixels, mean confidence; the bins' edges lie at round(k * 65536 / 15).

    Args:
        levels: (2, 65536) counts, wrong and right.
    """
    counts = levels.sum(axis=0)
    weighted = counts * (2 * np.arange(LEVELS, dtype=np.int64) + 1)
    edges = [round(k * LEVELS / BINS) for k in range(BINS + 1)]
    bins: list[tuple[int, int, float | None]] = []
    for low, high in pairwise(edges):
        pixels = int(counts[low:high].sum())
        confidence = int(weighted[low:high].sum()) / (2 * LEVELS) / pixels if pixels else None
        bins.append((pixels, int(levels[RIGHT, low:high].sum()), confidence))
    return bins


def expected_calibration_error(levels: np.ndarray) -> float:
    """ECE: the mean over pixels of the distance of their bin's accuracy from its mean confidence."""
    bins = [(pixels, right, mean) for pixels, right, mean in reliability(levels) if mean is not None]
    total = sum(pixels for pixels, _, _ in bins)
    return sum(abs(right - pixels * mean) for pixels, right, mean in bins) / total


def _roc(wrong: np.ndarray, right: np.ndarray) -> dict[str, float | None]:
    """Area under the curve of true over false positives, a right pixel being a positive, and FPR at 95 % TPR."""
    found, mistaken = np.cumsum(right[::-1]), np.cumsum(wrong[::-1])
    positives, negatives = int(found[-1]), int(mistaken[-1])
    if not positives or not negatives:
        return {'auroc': None, 'fpr95': None}
    tpr = np.concatenate([[0.0], found / positives])
    fpr = np.concatenate([[0.0], mistaken / negatives])
    # In whole numbers, or a rate of exactly 95 % might miss.
    first = int(np.argmax(100 * found >= 95 * positives))
    return {'auroc': float(np.trapezoid(tpr, fpr)), 'fpr95': int(mistaken[first]) / negatives}


def average_precision(positive: np.ndarray, negative: np.ndarray) -> float | None:
    """Area under precision over recall as steps, sum (R_n - R_{n-1}) P_n; None without positives.

    Args:
        positive: Counts on each level, the one that is found first in front.
        negative: The same.
    """
    found, mistaken = np.cumsum(positive), np.cumsum(negative)
    if not found[-1]:
        return None
    steps = positive > 0
    precision = found[steps] / (found[steps] + mistaken[steps])
    return float((positive[steps] * precision).sum() / found[-1])
