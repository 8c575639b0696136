"""One temperature for a model's logits: fitted on one half of the pictures, reported on the other.

Shape legend: C classes, N pixels.
"""

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from mmseg_tapadl.utils import InputError

# Pixels that are kept to fit on, of all pictures together: 19 classes of float32 are 30 MB.
MOST_PIXELS = 400_000
# log10 of the temperatures that are looked at.
_RANGE = (-1.5, 1.5)


def sampled_pixels(
    logits: Tensor, labelled: Tensor, *, count: int, picture: int, ignore_index: int = 255
) -> tuple[Tensor, Tensor]:
    """Some labelled pixels of a picture, drawn by its number alone.

    Args:
        logits: (C, H, W).
        labelled: (H, W), class ids or ``ignore_index``.
        count: At most so many.
        picture: Its number.
        ignore_index: Label value whose pixels do not count.

    Returns:
        (C, N) float32 logits and (N,) int64 labels, on the CPU.
    """
    places = (labelled.flatten() != ignore_index).nonzero()[:, 0].cpu()
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(picture))[:count]
    chosen = places[order].to(logits.device)
    return logits.flatten(1)[:, chosen].float().cpu(), labelled.flatten()[chosen].long().cpu()


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
        InputError: Without pixels, or for logits that are not finite where the labels are.
    """
    if not labelled.numel():
        raise InputError('there is no labelled pixel to fit a temperature on')
    if not torch.isfinite(logits.gather(0, labelled[None])).all():
        raise InputError('a temperature needs finite logits; the model gave infinite ones or NaN')
    found = minimize_scalar(
        lambda power: negative_log_likelihood(logits, labelled, 10**power), bounds=_RANGE, method='bounded'
    )
    return float(10**found.x)
