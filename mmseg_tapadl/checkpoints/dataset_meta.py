"""Names and colours of classes as checkpoints hold them."""

from typing import Any


def dataset_meta_of(meta: Any) -> dict[str, list]:
    """The classes and their colours in a checkpoint's metadata, in plain types.

    Args:
        meta: ``checkpoint['meta']``, of mmseg 1.x (``dataset_meta``) or 0.x (``CLASSES``, ``PALETTE``).

    Returns:
        ``classes``, a list of names, and ``palette``, a list of RGB triples of 0 to 255; each only where the file
        has it in this form.
    """
    meta = meta if isinstance(meta, dict) else {}
    held = meta.get('dataset_meta')
    held = held if isinstance(held, dict) else {}
    classes = held.get('classes') or meta.get('CLASSES')
    palette = held.get('palette', meta.get('PALETTE'))
    found: dict[str, list] = {}
    if isinstance(classes, (list, tuple)):
        found['classes'] = [str(name) for name in classes]
    colours = palette.tolist() if hasattr(palette, 'tolist') else palette
    try:
        plain = [[int(value) for value in colour] for colour in colours or ()]
    except (TypeError, ValueError):
        return found
    if plain and all(len(colour) == 3 and min(colour) >= 0 and max(colour) <= 255 for colour in plain):
        found['palette'] = plain
    return found
