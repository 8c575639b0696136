"""A Python function as a predictor. It is code: it runs with all rights of whoever starts it."""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, ModuleType
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
        file: The file that it was named with, where there is one.

    Raises:
        InputError: It is no callable.
    """

    unknown = 'what the function loads (weights, other modules) is not part of what identifies the sweep'

    def __init__(
        self, function: Callable, *, name: str | None = None, file: str | os.PathLike | None = None
    ) -> None:
        if not callable(function):
            raise InputError(
                f'{name or repr(function)} is no function, but {type(function).__name__}; a callable that takes a picture '
                'is needed'
            )
        self.function = function
        self._file = file
        self.name = name or _name_of(function)

    def predict(self, pictures: Sequence[np.ndarray]) -> list[Prediction]:
        """Calls the function picture by picture."""
        return [_prediction(self.function(picture)) for picture in pictures]

    def identity(self) -> dict[str, Any]:
        """The digest of the file that the function stands in, of its code where it stands in none.

        Where it was named with another file, that of both.
        """
        name = self.name.rpartition(':')[2]
        code = getattr(self.function, '__code__', None)
        if name.endswith('<lambda>') and code is not None:  # all of a file have this name
            name += f' of line {code.co_firstlineno}'
        identity = {'kind': 'python', 'function': name, 'sha256': _digest_of(self.function)}
        if self._file is not None:
            named = sha256_of(self._file)
            if named != identity['sha256']:
                identity['named file'] = named
        return identity


def load_function(spec: str) -> PythonFunction:
    """The function of ``FILE.py:name`` or ``module:name``.

    Modules are found as by a program in the current folder.

    Raises:
        InputError: The file, module or name is not there, or importing it fails.
    """
    place, _, name = spec.rpartition(':')
    if not place or not name:
        raise InputError(f'python:{spec}: write python:FILE.py:function or python:module:function')
    is_file = place.endswith('.py')
    if is_file and not Path(place).is_file():
        raise InputError(f'python:{spec}: {shown(place)}: no such file')
    try:
        module = _from_file(Path(place)) if is_file else _from_path(place)
    except (Exception, SystemExit) as error:  # a script may end itself where it expects to be started
        reason = ' '.join(str(error).split())
        raise InputError(
            f'python:{spec}: importing {shown(place)} failed: {type(error).__name__}: {shown(reason)}'
        ) from error
    target: Any = module
    for part in name.split('.'):
        if not hasattr(target, part):
            raise InputError(f'python:{spec}: {shown(place)} has no {name}{_callables_of(module)}')
        target = getattr(target, part)
    return PythonFunction(
        target,
        name=f'{Path(place).stem if is_file else place}:{name}',
        file=place if is_file else getattr(module, '__file__', None),
    )


def _from_path(name: str) -> ModuleType:
    with _first_on_path(Path.cwd()):
        return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses, pickling and forked workers look a module up by its name.
    known = path.stem in sys.modules
    sys.modules.setdefault(path.stem, module)
    try:
        # What lies beside the file can be imported from it, as when it is run.
        with _first_on_path(path.parent.resolve()):
            spec.loader.exec_module(module)
    except BaseException:
        if not known:
            del sys.modules[path.stem]
        raise
    return module


@contextmanager
def _first_on_path(folder: Path):
    """Stays there afterwards: a function may import what it needs when it is called. Not after an error."""
    sys.path.insert(0, str(folder))
    try:
        yield
    except BaseException:
        with suppress(ValueError):
            sys.path.remove(str(folder))
        raise


def _callables_of(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith('_')
        and getattr(value, '__module__', '') == module.__name__
    ]
    return f'; it has {", ".join(names[:8])}' if names else ''


def _name_of(function: Callable) -> str:
    function = _without_arguments(function)
    return str(getattr(function, '__qualname__', type(function).__qualname__))


def _without_arguments(function: Callable) -> Callable:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _digest_of(function: Callable) -> str | None:
    """SHA-256 of the file that a callable stands in, else of its byte code; None for one in C."""
    code = inspect.unwrap(_without_arguments(function))
    if not (inspect.isroutine(code) or inspect.isclass(code)):
        code = type(code)  # an instance: its class counts
    try:
        file = inspect.getsourcefile(code)
    except TypeError:
        file = None
    if file and os.path.isfile(file):
        return sha256_of(file)
    compiled = getattr(code, '__code__', None)  # typed into an interpreter: there is no file to read
    return None if compiled is None else hashlib.sha256(_bytes_of(compiled)).hexdigest()


def _bytes_of(code: CodeType) -> bytes:
    constants = (
        _bytes_of(value) if isinstance(value, CodeType) else repr(value).encode() for value in code.co_consts
    )
    return b'\0'.join([code.co_code, repr(code.co_names).encode(), *constants])


def _prediction(given: Any) -> Prediction:
    ids, confidence = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    return Prediction(_tensor(ids), confidence=None if confidence is None else _tensor(confidence))


def _tensor(values: Any) -> Any:
    """An array or tensor as a tensor of its own; what is neither is left, and the check of the contract names it.

    A function may use its array again for the next picture.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in 'biuf':
        # torch has few operations for unsigned integers beyond 8 bits, knows no other order of bytes, and no number
        # wider than 64 bits.
        if values.dtype.kind == 'u' and values.dtype.itemsize > 1:
            kind: np.dtype = np.dtype(np.int64)
        elif values.dtype.kind == 'f' and values.dtype.itemsize > 8:
            kind = np.dtype(np.float64)
        else:
            kind = values.dtype.newbyteorder('=')
        return torch.from_numpy(np.array(values, dtype=kind, order='C'))
    if isinstance(values, torch.Tensor):
        wide = values.dtype in (torch.uint16, torch.uint32, torch.uint64)
        return values.detach().to(torch.int64 if wide else values.dtype, copy=True)
    return values
