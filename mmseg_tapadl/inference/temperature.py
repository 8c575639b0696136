"""A temperature for a model's logits, as a user names it, and predictions at it.

The probabilities are the softmax of the logits divided by the temperature. What is predicted does not change.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_tapadl.evaluation.temperature import logits_of
from mmseg_tapadl.inference.interface import Prediction
from mmseg_tapadl.utils import InputError, shown
from mmseg_tapadl.utils.config_values import digest_of

# Far beyond what any model needs; within it no logit overflows.
_RANGE = (0.001, 1000)


@dataclass(frozen=True)
class Temperature:
    """What probabilities are computed at.

    Attributes:
        value: 0.001 to 1000; 1 changes nothing.
        file: Where it was read, None for a number.
        weights: Digest of the weights that it was fitted for; None: not known.
        pictures: Digest of the names of the pictures of which one half it was fitted on; None: not known.
    """

    value: float
    file: str | None = None
    weights: str | None = None
    pictures: str | None = None

    def check_weights(self, weights: str | None) -> None:
        """Raises :class:`InputError` where it was fitted for another model than that of these weights."""
        if self.weights is not None and weights is not None and self.weights != weights:
            raise InputError(
                f'{shown(self.file or "the temperature")}: was fitted for other weights ({self.weights[:12]}...) than those '
                f'of this model ({weights[:12]}...); fit one with tools/calibrate.py, or give the number itself'
            )


def read_temperature(told: str | float | os.PathLike) -> Temperature:
    """A temperature as ``--temperature`` takes it: a number, or a file of ``tools/calibrate.py``.

    Raises:
        InputError: No number from 0.001 to 1000, or no such file.
    """
    try:
        return Temperature(_checked(float(told), f'--temperature {told}'))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
    path = Path(told)  # type: ignore[arg-type]
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise InputError(
            f'--temperature {shown(path)}: must be a number or a file of tools/calibrate.py ({error.strerror})'
        ) from error
    except ValueError as error:
        raise InputError(
            f'--temperature {shown(path)}: is no file of tools/calibrate.py ({error})'
        ) from error
    if not isinstance(content, dict) or 'temperature' not in content:
        raise InputError(
            f'--temperature {shown(path)}: is no file of tools/calibrate.py (it has no "temperature")'
        )
    value = content['temperature']
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f'--temperature {shown(path)}: its temperature is {value!r}, not a number')
    known = {key: content[key] for key in ('weights', 'pictures') if isinstance(content.get(key), str)}
    return Temperature(_checked(float(value), f'--temperature {shown(path)}'), str(path), **known)


def _checked(value: float, told: str) -> float:
    low, high = _RANGE
    if not low <= value <= high:
        raise InputError(f'{told}: must be a number from {low} to {high}')
    return value


def weights_digest(identity: Mapping[str, Any]) -> str | None:
    """What a predictor's ``identity()`` says of its weights alone, whatever they are measured on; None: nothing."""
    found = identity.get('checkpoint') or identity.get('sha256')
    return found if isinstance(found, str) or found is None else digest_of(found)


def at_temperature(prediction: Prediction, temperature: float, source: str) -> Prediction:
    """The same labels with the probabilities at a temperature.

    Args:
        prediction: With logits, or all probabilities.
        temperature: Above 0.
        source: Names the picture in errors.

    Raises:
        InputError: The model gives neither.
    """
    logits = logits_of(
        logits=prediction.logits,
        probabilities=None if prediction.logits is not None else prediction.probabilities,
    )
    if logits is None:
        raise InputError(
            f'{shown(source)}: the model gives neither logits nor all probabilities, so it has no temperature'
        )
    return Prediction(prediction.labels, logits=logits / temperature)
