"""The public releases of FAN, RVT and of the paper: recognising a file, renaming its keys, accounting for each."""

from mmseg_tapadl.models.released_weights.conversion import (
    Conversion,
    convert_released,
    converted_if_released,
)
from mmseg_tapadl.models.released_weights.recognition import ReleasedWeights, WrongWeightsError, recognise

__all__ = [
    'Conversion',
    'ReleasedWeights',
    'WrongWeightsError',
    'convert_released',
    'converted_if_released',
    'recognise',
]
