"""Pictures that are results: one PNG for each picture of a source, found again by its path.

A result bears the path of its picture below the folder that all pictures of the source share, with the suffix
``.png``. Results know themselves (a text inside the PNG says so): nothing else is ever overwritten by one, and no
later run takes them for pictures.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmseg_tapadl.utils import InputError, atomic_write, shown

_LONGEST_NAME = 255  # bytes, on every file system in use
_MAKER = b'tEXtSoftware\0mmseg_tapadl result'
_HEAD_BYTES = 256


class ResultFiles:
    """The files of one kind of result in a folder.

    Args:
        folder: Where they are written; made with the first.
        base: Names are the pictures' paths below this folder. A picture that lies elsewhere, or any without a
            base, is named after its whole path.
    """

    def __init__(self, folder: str | os.PathLike, base: str | os.PathLike | None = None) -> None:
        self.folder = Path(folder)
        self.base = None if base is None else Path(os.path.abspath(base))

    def path_of(self, picture: str | os.PathLike) -> Path:
        """Where the result of a picture lies."""
        path = Path(os.path.abspath(picture))
        if self.base is not None and path.is_relative_to(self.base):
            inside = path.relative_to(self.base)
        else:
            inside = path.relative_to(path.anchor)
        return self.folder / inside.with_name(_png_name(inside.name))

    def check(self, pictures: Iterable[str | os.PathLike], sources: Iterable[str | os.PathLike] = ()) -> None:
        """Looks, before the first is written, whether each picture can have a file of its own.

        Args:
            pictures: Of the whole source.
            sources: Other files that must stay as they are, such as labels.

        Raises:
            InputError: Naming two pictures that would share a file, or a file that a result would overwrite.
        """
        taken: dict[str, str | os.PathLike] = {}
        pictures = list(pictures)
        kept = {os.path.realpath(path) for path in [*pictures, *sources]}
        for picture in pictures:
            result = self.path_of(picture)
            other = taken.setdefault(os.path.normcase(result), picture)
            if os.path.abspath(other) != os.path.abspath(picture):
                raise InputError(
                    f'{shown(other)} and {shown(picture)} would share the result {shown(result)}: rename one of them, '
                    'or write their results to two folders'
                )
            if os.path.realpath(result) in kept:
                raise InputError(
                    f'{shown(result)} belongs to the data and would be overwritten by a result; write the results to '
                    'another folder'
                )
            _refuse_foreign(result)

    def save(self, picture: str | os.PathLike, pixels: np.ndarray) -> Path:
        """Writes the result of a picture whole or not at all.

        Args:
            picture: Its path.
            pixels: (H, W) ids of 8 or 16 bits, or (H, W, 3) RGB of 8 bits.

        Returns:
            The file.

        Raises:
            InputError: When another file stands there that is no result.
        """
        path = self.path_of(picture)
        _refuse_foreign(path)
        maker = PngInfo()
        keyword, text = _MAKER.removeprefix(b'tEXt').decode().split('\0')
        maker.add_text(keyword, text)
        with atomic_write(path) as file:
            Image.fromarray(pixels).save(file, format='PNG', pnginfo=maker)
        return path


def label_map(prediction: torch.Tensor) -> np.ndarray:
    """The class ids of a prediction, (1, H, W), as (H, W) of 8 bits, of 16 where an id needs them."""
    ids = prediction.squeeze(0).cpu().numpy()
    return ids.astype(np.uint8 if ids.max(initial=0) <= 255 else np.uint16)


def is_result(path: str | os.PathLike) -> bool:
    """Whether a file was written by :meth:`ResultFiles.save`, wherever it was copied to since."""
    try:
        with open(path, 'rb') as file:
            return _MAKER in file.read(_HEAD_BYTES)
    except OSError:
        return False


def common_folder(pictures: Sequence[str | os.PathLike]) -> str | None:
    """The deepest folder that holds all pictures; None where there is none."""
    try:
        return os.path.commonpath([os.path.dirname(os.path.abspath(picture)) for picture in pictures])
    except ValueError:  # no picture, or several drives
        return None


def _refuse_foreign(result: Path) -> None:
    if os.path.lexists(result) and not is_result(result):
        raise InputError(
            f'{shown(result)} is there already and was not written by this toolkit as a result: move it away, or '
            'write to another folder'
        )


def _png_name(name: str) -> str:
    """``name`` with the suffix ``.png`` in place of a picture's; a name too long is cut and gets a digest."""
    stem, suffix = os.path.splitext(name)
    png = f'{stem if suffix.lower() in Image.registered_extensions() else name}.png'
    if len(os.fsencode(png)) <= _LONGEST_NAME:
        return png
    tail = f'-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.png'
    while len(os.fsencode(stem + tail)) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem + tail
