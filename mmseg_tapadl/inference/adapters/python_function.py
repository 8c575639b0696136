"""A Python function as a predictor. It is code: it runs with all rights of whoever starts it."""

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmseg_tapadl.inference.interface import PicturePredictor, Prediction
from mmseg_tapadl.utils import InputError, sha256_of, shown


class PythonFunction(PicturePredictor):
    """``function(image)`` labels one picture.

    It takes a (H, W, 3), uint8, RGB array and returns an (H, W) integer array of the data set's class ids, or
    ``(ids, confidence)`` with (H, W) floating values from 0 to 1, as numpy arrays or torch tensors.

    Args:
        function: Any callable.
        name: What to call it; by default its own name.
    """

    unknown = 'what the function loads (weights, other modules) is not part of what identifies the sweep'

    def __init__(self, function: Callable, *, name: str | None = None) -> None:
        if not callable(function):
            raise InputError(f'{name or function!r} is no function, but {type(function).__name__}')
        self.function = function
        self.name = str(name or getattr(function, '__qualname__', type(function).__qualname__))

    def predict(self, pictures: Sequence[np.ndarray]) -> list[Prediction]:
        """Calls the function picture by picture."""
        return [_prediction(self.function(picture)) for picture in pictures]

    def identity(self) -> dict[str, Any]:
        """The digest of the file that the function stands in, where there is one."""
        try:
            file = inspect.getsourcefile(inspect.unwrap(self.function))
        except TypeError:  # an instance: its class counts
            file = _file_of(type(self.function))
        digest = sha256_of(file) if file and os.path.isfile(file) else None
        return {'kind': 'python', 'function': self.name.rpartition(':')[2], 'sha256': digest}


def load_function(spec: str) -> PythonFunction:
    """The function of ``FILE.py:name`` or ``module:name``.

    Raises:
        InputError: The file, module or name is not there, or importing it fails.
    """
    place, _, name = spec.rpartition(':')
    if not place or not name:
        raise InputError(f'python:{spec}: write python:FILE.py:function or python:module:function')
    try:
        module = _from_file(Path(place)) if place.endswith('.py') else importlib.import_module(place)
    except Exception as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f'python:{spec}: importing {shown(place)} failed: {type(error).__name__}: {error}'
        ) from error
    target: Any = module
    for part in name.split('.'):
        if not hasattr(target, part):
            raise InputError(f'python:{spec}: {shown(place)} has no {name}')
        target = getattr(target, part)
    return PythonFunction(target, name=f'{Path(place).stem if place.endswith(".py") else place}:{name}')


def _from_file(path: Path):
    if not path.is_file():
        raise InputError(f'{shown(path)}: no such file')
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # What lies beside the file can be imported from it, as when it is run.
    sys.path.insert(0, str(path.parent.resolve()))
    # Dataclasses, pickling and forked workers look a module up by its name.
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _file_of(cls: type) -> str | None:
    try:
        return inspect.getsourcefile(cls)
    except TypeError:
        return None


def _prediction(given: Any) -> Prediction:
    ids, confidence = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    return Prediction(_tensor(ids), confidence=None if confidence is None else _tensor(confidence))


def _tensor(values: Any) -> Any:
    """An array as a tensor of its own; what is none is left as it is, and the check of the contract names it."""
    if isinstance(values, np.ndarray) and values.dtype.kind in 'biuf':
        # A function may use its array again for the next picture. torch has few operations for unsigned integers
        # beyond 8 bits, and knows no other order of bytes.
        wide = values.dtype.kind == 'u' and values.dtype.itemsize > 1
        return torch.from_numpy(np.array(values, dtype=np.int64 if wide else values.dtype.newbyteorder('=')))
    return values
