"""Which class is taken for which."""

from typing import NamedTuple

import numpy as np

# What a class of the model is that the data set does not have.
NONE = 'none of the classes'


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


def taken_for(entry: dict) -> np.ndarray:
    """(C, C + 1) pixels of a cell of ``robustness.json``: rows are labels, the last column is none of the classes."""
    confusion = np.array(entry['confusion'])
    return np.column_stack([confusion, entry.get('predicted_none') or np.zeros(len(confusion), np.int64)])


def most_confused(confusion: np.ndarray, classes: list[str], count: int) -> list[ConfusedPair]:
    """The pairs with the most wrong pixels, the worst first; pairs without any are left out.

    Args:
        confusion: (C, C) or (C, C + 1) pixels, rows are labels; see :func:`taken_for`.
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
                    [*classes, NONE][prediction],
                    pixels,
                    pixels / int(total),
                    pixels / int(of_class[label]),
                )
            )
    return pairs
