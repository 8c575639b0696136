"""Predictions that keep the contract of :mod:`mmseg_tapadl.inference.interface`, or an error with the picture's name."""

import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from mmseg_tapadl.inference.interface import PicturePredictor, Prediction
from mmseg_tapadl.utils import InputError, shown

# Probabilities may have been half precision numbers on their way: each is rounded, and the sum of many of them more so.
_ROUNDING = 1e-3
_ROUNDING_OF_SUM = 1e-2
# Where Python, what is installed and this package lie; what is not below is the user's own.
_NOT_THE_USERS = (
    *(sysconfig.get_paths()[key] for key in ('stdlib', 'platstdlib', 'purelib', 'platlib')),
    str(Path(__file__).resolve().parents[1]),
)


class PredictionError(InputError):
    """A model broke the contract, or failed; the message names the picture."""


def checked_predictions(
    predictor: PicturePredictor,
    pictures: Sequence[np.ndarray],
    names: Sequence[str],
    *,
    num_classes: int | None,
) -> list[Prediction]:
    """Predicts picture by picture, so that the one at fault is known, and compares what comes back with the contract.

    Args:
        predictor: The model.
        pictures: Each (H, W, 3), uint8, RGB.
        names: Of the pictures, for errors.
        num_classes: C; None: any id is taken.

    Raises:
        PredictionError: The model failed, changed a picture, or gave labels or probabilities of another size, type or
            range.
    """
    return [
        _checked_prediction(predictor, picture, name, num_classes)
        for picture, name in zip(pictures, names, strict=True)
    ]


def _checked_prediction(
    predictor: PicturePredictor, picture: np.ndarray, name: str, num_classes: int | None
) -> Prediction:
    before = picture.copy()
    try:
        predictions = predictor.predict([picture])
    # A model that ends the program has failed, too: without this the tool would end with the status of success.
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        # Where the user's own code stopped says more than the place in a library below it.
        own = (frame for frame in reversed(frames) if not frame.filename.startswith(_NOT_THE_USERS))
        at = next(own, frames[-1])
        reason = ' '.join(str(error).split())
        raise PredictionError(
            f'{shown(name)}: the model failed ({shown(at.filename)}, line {at.lineno}): '
            f'{type(error).__name__}{": " if reason else ""}{reason}'
        ) from error
    if not isinstance(predictions, (list, tuple)) or len(predictions) != 1:
        _refuse(name, f'{_kind(predictions)} for one picture; a list of one Prediction is needed')
    if not np.array_equal(picture, before):
        raise PredictionError(
            f'{shown(name)}: the model changed the picture that it was given; let it work on a copy (image.copy())'
        )
    check_prediction(predictions[0], picture.shape[:2], name, num_classes=num_classes)
    return predictions[0]


def check_prediction(
    prediction: Prediction, size: tuple[int, int], name: str, *, num_classes: int | None
) -> None:
    """Raises :class:`PredictionError` where a prediction of a picture of ``size`` (H, W) is not as agreed."""
    if not isinstance(prediction, Prediction):
        _refuse(name, f'{_kind(prediction)}; a Prediction is needed')
    labels = prediction.labels
    whole = isinstance(labels, Tensor) and not (labels.is_floating_point() or labels.is_complex())
    if not whole or labels.dtype == torch.bool:
        _refuse(name, f'labels of type {_kind(labels)}; whole numbers (an integer type) are needed')
    _check_size(labels, size, name, 'labels')
    low, high = (int(value) for value in torch.aminmax(labels.long()))
    if low < 0 or (num_classes is not None and high >= num_classes):
        wrong = low if low < 0 else high
        _refuse(
            name,
            f'label {wrong}, which is no class'
            + (f': there are {num_classes}, 0 to {num_classes - 1}' if num_classes is not None else ''),
        )
    if prediction.logits is not None:
        _check_floating(prediction.logits, name, 'logits', 'floating values')
        _check_size(prediction.logits, size, name, 'logits', channels=num_classes)
        if bool(prediction.logits.isnan().any()):
            _refuse(name, 'logits that are NaN')
        return
    if prediction.probabilities is not None:
        _check_range(prediction.probabilities, name, 'probabilities')
        _check_size(prediction.probabilities, size, name, 'probabilities', channels=num_classes)
        sums = prediction.probabilities.double().sum(dim=0)
        furthest = float(sums.flatten()[int((sums - 1).abs().argmax())])
        if abs(furthest - 1) > _ROUNDING_OF_SUM:
            _refuse(name, f'probabilities that do not sum to 1 (a pixel has {furthest:.4g}); apply a softmax')
    if prediction.confidence is not None:
        _check_range(prediction.confidence, name, 'confidence')
        _check_size(prediction.confidence, size, name, 'confidence')


def _check_size(
    values: Tensor, size: tuple[int, int], name: str, what: str, *, channels: int | None = -1
) -> None:
    """``channels`` of -1: there is no such axis; None: there may be any number."""
    dimensions = 2 if channels == -1 else 3
    if values.ndim == dimensions and tuple(values.shape[-2:]) == tuple(size):
        if channels in (-1, None) or values.shape[0] == channels:
            return
        _refuse(name, f'{what} of {values.shape[0]} classes; the labels have {channels}')
    wanted = '({}, {})'.format(*size) if dimensions == 2 else '({}, {}, {})'.format(channels or 'C', *size)
    _refuse(name, f'{what} of shape {tuple(values.shape)}; the picture needs {wanted}')


def _check_range(values: Tensor, name: str, what: str) -> None:
    _check_floating(values, name, what, 'floating values from 0 to 1')
    if bool(values.isnan().any()):
        _refuse(name, f'{what} that are NaN')
    low, high = (float(value) for value in torch.aminmax(values))
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        _refuse(name, f'{what} from {low:.4g} to {high:.4g}; they must lie in 0 to 1')


def _check_floating(values: Tensor, name: str, what: str, needed: str) -> None:
    if not isinstance(values, Tensor) or not values.is_floating_point():
        _refuse(name, f'{what} of type {_kind(values)}; {needed} are needed')


def _kind(values: object) -> str:
    if isinstance(values, (list, tuple)):
        return f'{type(values).__name__} of {len(values)}'
    return str(getattr(values, 'dtype', type(values).__name__))


def _refuse(name: str, fault: str) -> NoReturn:
    raise PredictionError(f'{shown(name)}: the model gave {fault}')
