"""How much a score would move had other pictures been drawn: a Poisson bootstrap in bounded memory.

An ordinary bootstrap draws N pictures with replacement, again and again, and needs every picture's counts. Here
each picture gets, for each of B resamples, a weight from the Poisson distribution of mean 1, and B sums of counts
are kept: the same estimate, in one pass, whatever N. The weights depend on the picture's number alone, so they
are the same for every cell and every model; the difference of two models is resampled picture by picture.

The pictures' weights are independent of each other, as an ordinary bootstrap's are. Both take the pictures for
independent draws; where neighbours are alike, as the frames of a video are, what they say is too narrow.

Shape legend: B resamples, C classes.
"""

import base64

import numpy as np

from mmseg_tapadl.evaluation.class_counts import percentages

RESAMPLES = 200
# Raised when the weights change: resamples of different versions must not be put together.
BOOTSTRAP_VERSION = 2
VIDEO_NOTE = (
    'It takes the pictures for independent draws: where neighbouring pictures are alike, as the frames of a video '
    'are, every such interval is too narrow.'
)
_STREAM = 20260101
# P(weight <= k) for k = 0, 1, ...; beyond 12 less than 1e-10 is left.
_CUMULATIVE = np.cumsum([np.exp(-1.0) / np.prod(np.arange(1, k + 1), dtype=float) for k in range(13)])
# Two sided, 95 %.
_QUANTILE = 1.96


def poisson_weights(picture: int) -> np.ndarray:
    """(B,) int64 weights of picture number ``picture``, independent of every other picture's."""
    # The number is part of the key. As the counter it would only move the one stream on by four draws.
    uniform = np.random.Generator(np.random.Philox(key=[_STREAM, picture])).random(RESAMPLES)
    return np.searchsorted(_CUMULATIVE, uniform, side='right').astype(np.int64)


def resampled_miou(sums: np.ndarray) -> np.ndarray:
    """(B,) mIoU in percent of (B, 3, C) resampled counts."""
    return np.array([percentages(counts).miou for counts in sums])


def pack(values: np.ndarray) -> str:
    """(B,) numbers as one short string for JSON: float32, little endian, base64."""
    return base64.b64encode(np.asarray(values, dtype='<f4').tobytes()).decode('ascii')


def unpack(text: str) -> np.ndarray:
    """(B,) float64 of what :func:`pack` wrote.

    Raises:
        ValueError: When it is anything else.
    """
    data = base64.b64decode(text, validate=True)
    if len(data) != 4 * RESAMPLES:
        raise ValueError(f'{len(data)} bytes instead of {RESAMPLES} resamples of 4')
    return np.frombuffer(data, dtype='<f4').astype(np.float64)


def spread(values: np.ndarray) -> float | None:
    """The standard error that the resamples show; None where it cannot be told."""
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1)) if finite.size > 1 else None


def within_noise(difference: float, resampled_difference: np.ndarray) -> bool | None:
    """Whether a difference is one that another draw of pictures could undo (at the 95 % level)."""
    error = spread(resampled_difference)
    return None if error is None else abs(difference) <= _QUANTILE * error
