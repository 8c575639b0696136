"""Means over pictures, their standard errors, and how a measure goes with the drop in mIoU.

All take lists in the order of the pictures, so that the numbers do not depend on who measured which.
"""

import math
from collections.abc import Sequence

import numpy as np

FEWEST_FOR_RELATION = 4
"""Pictures; the interval of a correlation needs more than three."""


def mean_and_error(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The mean of what is defined (``None``: nothing is), and its standard error s / sqrt(n) (``None`` below two)."""
    defined = np.array([value for value in values if not math.isnan(value)], dtype=np.float64)
    if not len(defined):
        return None, None
    error = float(defined.std(ddof=1) / math.sqrt(len(defined))) if len(defined) > 1 else None
    return float(defined.mean()), error


def relation(values: Sequence[float], drops: Sequence[float]) -> dict[str, float | int] | None:
    """Pearson's correlation of a measure with the drop in mIoU over pictures.

    Returns:
        ``r``, its 95 % interval ``low`` to ``high`` (Fisher's z) and the number of ``pictures``; ``None`` for fewer than
        four pictures, or where one of the two is the same for all.
    """
    pairs = np.array(
        [pair for pair in zip(values, drops, strict=True) if not any(map(math.isnan, pair))], dtype=np.float64
    )
    if len(pairs) < FEWEST_FOR_RELATION:
        return None
    centred = pairs - pairs.mean(0)
    spread = np.sqrt((centred**2).sum(0))
    # What differs by rounding alone is the same.
    if (spread <= 1e-9 * np.abs(pairs).max(0)).any():
        return None
    r = float(np.clip((centred[:, 0] * centred[:, 1]).sum() / (spread[0] * spread[1]), -1.0, 1.0))
    half = 1.96 / math.sqrt(len(pairs) - 3)
    z = math.atanh(min(max(r, -1 + 1e-12), 1 - 1e-12))
    return {'r': r, 'low': math.tanh(z - half), 'high': math.tanh(z + half), 'pictures': len(pairs)}
