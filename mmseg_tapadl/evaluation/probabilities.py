"""From logits to what is known of a picture's probabilities, in pieces that stay in the cache.

Shape legend: C classes, N pixels.
"""

import math

import torch
from torch import Tensor

from mmseg_tapadl.evaluation.confidence import ProbabilityError
from mmseg_tapadl.utils import shown

# Pixels at a time: 19 classes of float32 are 1.2 MB.
_PIXELS = {'cpu': 1 << 14}
_PIXELS_ELSEWHERE = 1 << 22
# Probabilities may have been half precision numbers on their way.
_TOLERANCE = 1e-2


def confidence_of_logits(logits: Tensor, predicted: Tensor) -> Tensor:
    """The softmax probability of the predicted class of every pixel.

    Args:
        logits: (C, N), floating.
        predicted: (N,), int64 class ids.

    Returns:
        (N,) float32; NaN where a logit is NaN or positively infinite.
    """
    return _in_pieces(logits, predicted, None, None)[0]


def confidence_and_error(
    logits: Tensor, predicted: Tensor, labelled: Tensor, counted: Tensor
) -> tuple[Tensor, float]:
    """As :func:`confidence_of_logits`, and the sum over the counted pixels of sum_c (p_c - y_c)^2.

    Args:
        logits: (C, N), floating.
        predicted: (N,), int64 class ids.
        labelled: (N,), int64 class ids where ``counted``, any class id elsewhere: y is 1 at these, 0 otherwise.
        counted: (N,), bool.
    """
    return _in_pieces(logits, predicted, labelled, counted)


def _in_pieces(
    logits: Tensor, predicted: Tensor, labelled: Tensor | None, counted: Tensor | None
) -> tuple[Tensor, float]:
    step = _PIXELS.get(logits.device.type, _PIXELS_ELSEWHERE)
    confidence = torch.empty(logits.shape[1], device=logits.device)
    error = torch.zeros((), dtype=torch.float64, device=logits.device)
    for start in range(0, logits.shape[1], step):
        piece = slice(start, start + step)
        values = logits[:, piece].float()
        powers = (values - values.amax(dim=0)).exp_()
        total = powers.sum(dim=0)
        torch.div(powers.gather(0, predicted[None, piece])[0], total, out=confidence[piece])
        if labelled is not None and counted is not None:
            truth = powers.gather(0, labelled[None, piece])[0] / total
            squares = powers.square_().sum(dim=0) / total.square_()
            error += ((squares - 2 * truth + 1) * counted[piece]).sum(dtype=torch.float64)
    return confidence, float(error)


def squared_error(probabilities: Tensor, labelled: Tensor) -> float:
    """The sum over all pixels of sum_c (p_c - y_c)^2.

    Args:
        probabilities: (C, N).
        labelled: (N,), class ids.
    """
    truth = probabilities.gather(0, labelled[None])[0].double()
    return float((probabilities.double().square().sum(dim=0) - 2 * truth + 1).sum())


def check_probabilities(probabilities: Tensor, source: str) -> None:
    """Whether (C, ...) numbers are probabilities of C classes.

    Raises:
        ProbabilityError: For NaN, or sums that are not 1; names the picture.
    """
    sums = probabilities.double().sum(dim=0)
    furthest = float(sums.flatten()[int((sums - 1).abs().argmax())]) if sums.numel() else 1.0
    if math.isnan(furthest):
        raise ProbabilityError(f'{shown(source)}: the model gave probabilities that are NaN')
    if abs(furthest - 1) > _TOLERANCE:
        raise ProbabilityError(
            f'{shown(source)}: the model gave probabilities that do not sum to 1 (a pixel has {furthest:.4g})'
        )
