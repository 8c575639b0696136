"""Which class is taken for which."""

from typing import NamedTuple

import numpy as np


class ConfusedPair(NamedTuple):
    """Pixels of one class that were predicted as another.

    Attributes:
        label: What they are.
        prediction: What they were taken for.
        pixels: How many.
        of_wrong: As a share of all wrong pixels, 0 to 1.
        of_label: As a share of the class's own pixels, 0 to 1.
    """

    label: str
    prediction: str
    pixels: int
    of_wrong: float
    of_label: float


def most_confused(confusion: np.ndarray, classes: list[str], count: int) -> list[ConfusedPair]:
    """The pairs with the most wrong pixels, the worst first; pairs without any are left out.

    Args:
        confusion: (C, C) pixels, rows are labels.
        classes: Names of the C classes.
        count: At most so many.
    """
    wrong = np.array(confusion, dtype=np.int64)
    of_class = wrong.sum(axis=1)
    np.fill_diagonal(wrong, 0)
    total = wrong.sum()
    order = np.argsort(-wrong, axis=None, kind='stable')[:count]
    pairs = []
    for label, prediction in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if pixels := int(wrong[label, prediction]):
            pairs.append(
                ConfusedPair(
                    classes[label],
                    classes[prediction],
                    pixels,
                    pixels / int(total),
                    pixels / int(of_class[label]),
                )
            )
    return pairs
