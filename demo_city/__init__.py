"""The demo city: painted streets with exact labels, in clear and in bad weather, for a machine without data."""

from demo_city.writer import (
    ADVERSE,
    MANIFEST,
    DemoCityError,
    DemoCityOptions,
    Picture,
    list_pictures,
    paint_picture,
    write_demo_city,
)

__all__ = [
    'ADVERSE',
    'MANIFEST',
    'DemoCityError',
    'DemoCityOptions',
    'Picture',
    'list_pictures',
    'paint_picture',
    'write_demo_city',
]
