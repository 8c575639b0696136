"""One temperature for a model's logits: fitted on one half of the pictures, reported on the other.

Shape legend: C classes, N pixels.
"""

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from mmseg_tapadl.utils import InputError, shown

# Pixels that are kept to fit on, of all pictures together, and their numbers: 30 MB of float32.
MOST_PIXELS = 400_000
_MOST_NUMBERS = 19 * MOST_PIXELS
# log10 of the temperatures that are looked at.
_RANGE = (-1.5, 1.5)
# The search stops short of the ends of its range by less than this.
_NEAR = 1e-3


def logits_of(*, logits: Tensor | None = None, probabilities: Tensor | None = None) -> Tensor | None:
    """Numbers whose softmax are a model's probabilities: its logits, or else the logarithm of the probabilities.

    Args:
        logits: (C, ...), floating; None: not known.
        probabilities: (C, ...), 0 to 1; None: not known. A probability of 0, as rounding makes it, becomes the smallest
            that float32 has.

    Returns:
        (C, ...), float32; None where neither is known.
    """
    if logits is not None:
        return logits.float()
    if probabilities is None:
        return None
    return probabilities.float().clamp_min(torch.finfo(torch.float32).tiny).log()


def pixels_to_fit_on(num_classes: int) -> int:
    """How many pixels of C classes are kept, of all pictures together."""
    return min(MOST_PIXELS, _MOST_NUMBERS // num_classes)


def sampled_pixels(
    logits: Tensor, labelled: Tensor, *, count: int, picture: int, ignore_index: int = 255, source: str = ''
) -> tuple[Tensor, Tensor]:
    """Some labelled pixels of a picture, drawn by its number alone.

    Args:
        logits: (C, H, W).
        labelled: (H, W), class ids or ``ignore_index``.
        count: At most so many.
        picture: Its number.
        ignore_index: Label value whose pixels do not count.
        source: Names the picture in errors.

    Returns:
        (C, N) float32 logits and (N,) int64 labels, on the CPU.

    Raises:
        InputError: For logits that no temperature can be fitted to; names the picture.
    """
    places = (labelled.flatten() != ignore_index).nonzero()[:, 0].cpu()
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(picture))[:count]
    chosen = places[order].to(logits.device)
    values, labels = logits.flatten(1)[:, chosen].float().cpu(), labelled.flatten()[chosen].long().cpu()
    _check_finite(values, labels, f'{shown(source)}: ' if source else '')
    return values, labels


def _check_finite(logits: Tensor, labelled: Tensor, who: str = '') -> None:
    finite = torch.isfinite(logits) | logits.isneginf()  # a class that is never predicted may have -inf
    if not (finite.all() and torch.isfinite(logits.gather(0, labelled[None])).all()):
        raise InputError(f'{who}a temperature needs finite logits; the model gave infinite ones or NaN')


def negative_log_likelihood(logits: Tensor, labelled: Tensor, temperature: float) -> float:
    """The mean over the pixels of -log p(label), p being the softmax of logits / temperature.

    Args:
        logits: (C, N).
        labelled: (N,).
        temperature: Above 0.
    """
    scaled = logits.double() / temperature
    return float((scaled.logsumexp(dim=0) - scaled.gather(0, labelled[None])[0]).mean())


def fit_temperature(logits: Tensor, labelled: Tensor) -> float:
    """The temperature of the least negative log-likelihood, between 0.03 and 32.

    Args:
        logits: (C, N).
        labelled: (N,).

    Raises:
        InputError: Without pixels, or for logits that are NaN, infinite, or not finite where the labels are.
    """
    if not labelled.numel():
        raise InputError('there is no labelled pixel to fit a temperature on')
    _check_finite(logits, labelled)
    found = minimize_scalar(
        lambda power: negative_log_likelihood(logits, labelled, 10**power), bounds=_RANGE, method='bounded'
    )
    return float(10**found.x)


def at_the_end_of_the_range(temperature: float) -> bool:
    """Whether :func:`fit_temperature` found no minimum between the temperatures that it looks at."""
    return min(abs(math.log10(temperature) - end) for end in _RANGE) < _NEAR
