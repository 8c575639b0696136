"""A model by one text: ``python:FILE.py:function``, ``hf:FOLDER_OR_NAME`` or ``onnx:FILE``."""

from collections.abc import Mapping
from typing import Any

from mmseg_tapadl.inference.interface import PicturePredictor
from mmseg_tapadl.utils import InputError

KINDS = ('python', 'hf', 'onnx')
FORMS = 'python:FILE.py:function, python:module:function, hf:FOLDER_OR_NAME or onnx:FILE'


def open_model(
    model: str, *, options: Mapping[str, Any] | None = None, device: str | None = None
) -> PicturePredictor:
    """Opens a model of another kind than mmseg's.

    Args:
        model: As above. What follows ``python:`` is a program and runs as one; the others are data, and nothing in
            them is executed.
        options: ``--model-options``, of the kinds that have some; ``size.height`` is the ``height`` in ``size``.
        device: ``'cpu'``, ``'cuda:0'``, ...; None: a GPU where there is one. A Python function sees to itself.

    Raises:
        InputError: Another form, or a model that cannot be opened.
    """
    kind, _, place = model.partition(':')
    if kind not in KINDS or not place:
        raise InputError(f'--model {model}: must be {FORMS}')
    if kind == 'python':
        from mmseg_tapadl.inference.adapters.python_function import load_function

        if options:
            raise InputError(f'--model-options: {model} takes none; they are for hf: and onnx:')
        return load_function(place)
    options = _nested(options or {})
    if kind == 'hf':
        from mmseg_tapadl.inference.adapters.hugging_face import HuggingFaceModel

        return HuggingFaceModel(place, options=options, device=device)
    from mmseg_tapadl.inference.adapters.onnx_file import OnnxFile

    return OnnxFile(place, options=options, device=device)


def _nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """``{'a.b': 1}`` as ``{'a': {'b': 1}}``."""
    nested: dict[str, Any] = {}
    for key, value in options.items():
        *above, last = key.split('.')
        place = nested
        for name in above:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise InputError(f'--model-options: {name} is given as a whole and in parts ({key})')
        place[last] = value
    return nested
