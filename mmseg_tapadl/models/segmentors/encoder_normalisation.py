"""How pictures are normalised: the numbers that an encoder's weights were trained with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmseg.registry import MODELS

from mmseg_tapadl.utils.errors import InputError

FROM_ENCODER = 'encoder'


def with_encoder_numbers(
    data_preprocessor: Mapping[str, Any] | None, backbone: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Fills in ``mean='encoder'`` and ``std='encoder'``, and says where other numbers are given than the weights expect.

    Args:
        data_preprocessor: Config of mmseg's ``SegDataPreProcessor``; ``None`` normalises nothing.
        backbone: Config of the encoder; its class may know what its weights expect (``normalisation``).

    Returns:
        The config with numbers for RGB from 0 to 255; where they came from the encoder, ``bgr_to_rgb`` is on.
        ``None`` where none was given.

    Raises:
        InputError: The encoder's class does not know, or ``bgr_to_rgb=False`` where the numbers are asked for.
    """
    config = dict(data_preprocessor or {})
    asked = [key for key in ('mean', 'std') if isinstance(config.get(key), str)]
    wrong = [key for key in asked if config[key] != FROM_ENCODER]
    if wrong:
        raise InputError(
            f"data_preprocessor.{wrong[0]}='{config[wrong[0]]}': give three numbers, or '{FROM_ENCODER}'"
        )
    expected = expected_by(backbone)
    if expected is None:
        if asked:
            raise InputError(
                f"data_preprocessor.{asked[0]}='{FROM_ENCODER}': {backbone.get('type')} does not know what its weights "
                'expect; give three numbers'
            )
        return None if data_preprocessor is None else config
    if asked:
        if not config.setdefault('bgr_to_rgb', True):
            raise InputError(
                f"data_preprocessor.bgr_to_rgb=False with {asked[0]}='{FROM_ENCODER}': the weights expect RGB; leave it out"
            )
        config.update({key: expected[key] for key in asked})
    _tell_difference(config, expected, backbone.get('model', backbone['type']))
    return None if data_preprocessor is None else config


def expected_by(backbone: Mapping[str, Any]) -> dict[str, list[float]] | None:
    """Mean and standard deviation that an encoder's weights expect; None where its class does not know."""
    cls = backbone.get('type')
    cls = MODELS.get(cls) if isinstance(cls, str) else cls
    normalisation = getattr(cls, 'normalisation', None)
    return normalisation(backbone) if normalisation is not None else None


def _tell_difference(config: Mapping[str, Any], expected: Mapping[str, list[float]], model: str) -> None:
    given = {key: config.get(key) for key in expected}
    same = all(
        value is not None and len(value) == len(expected[key]) and np.allclose(value, expected[key], atol=0.1)
        for key, value in given.items()
    )
    if not same or not config.get('bgr_to_rgb', False):
        numbers = ', '.join(f'{key}={[round(v, 3) for v in values]}' for key, values in expected.items())
        print_log(
            f"data_preprocessor: the weights of '{model}' expect RGB with {numbers}; this config has mean="
            f'{given["mean"]}, std={given["std"]}, bgr_to_rgb={config.get("bgr_to_rgb", False)}. Right unless these '
            f"are weights of your own; mean='{FROM_ENCODER}', std='{FROM_ENCODER}' takes the expected numbers",
            logger='current',
            level=30,
        )
