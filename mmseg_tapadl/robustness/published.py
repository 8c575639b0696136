"""Numbers that others published, to be put beside one's own where both were measured in the same way."""

import json
from importlib import resources

from mmseg_tapadl.evaluation.robustness_presets import CITYSCAPES_C_CORRUPTIONS

# Pictures of each city in Cityscapes val.
_VAL_CITIES = {'frankfurt': 267, 'lindau': 59, 'munster': 174}


def published_models() -> list[dict]:
    """``model``, ``cityscapes``, ``cityscapes_c``, ``source`` and ``corruptions`` (by name, or None), in percent."""
    text = resources.files('mmseg_tapadl.robustness').joinpath('published.json').read_text(encoding='utf-8')
    return json.loads(text)['models']


def comparable(results: dict) -> bool:
    """Whether results were measured as published ones: all 72 cells of Cityscapes val, in BGR order."""
    return bool(
        results['cityscapes_c_complete']
        and results['channel_order'] == 'bgr'
        and results['pictures'].get('cityscapes_val')
        and set(results['corruptions']) == set(CITYSCAPES_C_CORRUPTIONS)
    )


def is_cityscapes_val(names: list[str]) -> bool:
    """Whether these are the pictures of Cityscapes val.

    Args:
        names: What names each picture, such as ``leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png``.
    """
    parts = [name.split('/') for name in names]
    cities = [part[2] for part in parts if len(part) == 4 and part[:2] == ['leftImg8bit', 'val']]
    return (
        len(cities) == len(set(names)) == len(names)
        and {city: cities.count(city) for city in set(cities)} == _VAL_CITIES
    )
