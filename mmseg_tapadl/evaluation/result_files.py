"""Pictures that are results: one PNG for each picture of a source, found again by its path.

A result bears the path of its picture below the folder that all pictures of the source share, with the suffix
``.png``. Results know themselves and their kind (a text inside the PNG says so): nothing else is ever overwritten by
one, no result of another kind or picture either, and no later run takes them for pictures.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmseg_tapadl.utils import InputError, atomic_write, shown

_LONGEST_NAME = 255  # bytes, on every file system in use
_MAKER = b'tEXtSoftware\0mmseg_tapadl result'
_HEAD_BYTES = 256
_COLOUR_TYPE = 25  # the byte of a PNG that tells grey (0) from RGB (2)

Kind = Literal['label map', 'overlay', 'confidence map']


class ResultFiles:
    """The files of one kind of result in a folder.

    Args:
        folder: Where they are written; made with the first.
        base: Names are the pictures' paths below this folder. A picture that lies elsewhere, or any without a
            base, is named after its whole path.
        kind: What the files show. A file of another kind is not overwritten.

    Attributes:
        saved: The picture of each file written so far.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        base: str | os.PathLike | None = None,
        *,
        kind: Kind = 'label map',
    ) -> None:
        self.folder = Path(folder)
        self.kind = kind
        self.saved: dict[str, str] = {}
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
            refuse_shared(result, taken.setdefault(os.path.normcase(result), picture), picture)
            if os.path.realpath(result) in kept:
                raise InputError(
                    f'{shown(result)} belongs to the data and would be overwritten by a result; write the results to '
                    'another folder'
                )
            self._refuse_foreign(result)

    def save(self, picture: str | os.PathLike, pixels: np.ndarray) -> Path:
        """Writes the result of a picture whole or not at all.

        Args:
            picture: Its path.
            pixels: (H, W) ids of 8 or 16 bits, or (H, W, 3) RGB of 8 bits.

        Returns:
            The file.

        Raises:
            InputError: When another file stands there that is no result or one of another kind, or one that was
                written for another picture.
        """
        path = self.path_of(picture)
        refuse_shared(path, self.saved.setdefault(os.path.normcase(path), os.fspath(picture)), picture)
        self._refuse_foreign(path)
        maker = PngInfo()
        keyword, text = _MAKER.removeprefix(b'tEXt').decode().split('\0')
        maker.add_text(keyword, f'{text}: {self.kind}')
        with atomic_write(path) as file:
            Image.fromarray(pixels).save(file, format='PNG', pnginfo=maker)
        return path

    def _refuse_foreign(self, result: Path) -> None:
        if not os.path.lexists(result):
            return
        kind = kind_of(result)
        if kind is None:
            raise InputError(
                f'{shown(result)} is there already and was not written by this toolkit as a result: move it away, or '
                'write to another folder'
            )
        if kind != self.kind:
            raise InputError(
                f'{shown(result)} is there already as {_with_article(kind)} and would be overwritten by '
                f'{_with_article(self.kind)}: write them to two folders'
            )


def check_apart(one: ResultFiles, other: ResultFiles, pictures: Iterable[str | os.PathLike]) -> None:
    """Looks, before the first is written, whether two kinds of results of the same pictures have files of their own.

    Raises:
        InputError: Naming the first file that both would write.
    """
    files = {os.path.normcase(os.path.realpath(one.path_of(picture))) for picture in pictures}
    for picture in pictures:
        result = other.path_of(picture)
        if os.path.normcase(os.path.realpath(result)) in files:
            raise InputError(
                f'{shown(result)} would be both {_with_article(one.kind)} and {_with_article(other.kind)}: write them to '
                'two folders'
            )


def refuse_shared(result: str | os.PathLike, one: str | os.PathLike, other: str | os.PathLike) -> None:
    """Raises :class:`InputError` where a result is that of two pictures."""
    if os.path.abspath(one) != os.path.abspath(other):
        raise InputError(
            f'{shown(one)} and {shown(other)} would share the result {shown(result)}: rename one of them, '
            'or write their results to two folders'
        )


def label_map(prediction: torch.Tensor) -> np.ndarray:
    """The class ids of a prediction, (1, H, W), as (H, W) of 8 bits, of 16 where an id needs them."""
    ids = prediction.squeeze(0).cpu().numpy()
    return ids.astype(np.uint8 if ids.max(initial=0) <= 255 else np.uint16)


def is_result(path: str | os.PathLike) -> bool:
    """Whether a file was written by :meth:`ResultFiles.save`, wherever it was copied to since."""
    return kind_of(path) is not None


def kind_of(path: str | os.PathLike) -> Kind | None:
    """What a file written by :meth:`ResultFiles.save` shows; None for any other file."""
    try:
        with open(path, 'rb') as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    _, maker, rest = head.partition(_MAKER)
    if not maker:
        return None
    for kind in get_args(Kind):
        if rest.startswith(f': {kind}'.encode()):
            return kind
    # Written before the text told the kind: ids are grey.
    return 'overlay' if head[_COLOUR_TYPE] == 2 else 'label map'


def common_folder(pictures: Sequence[str | os.PathLike]) -> str | None:
    """The deepest folder that holds all pictures; None where there is none."""
    try:
        return os.path.commonpath([os.path.dirname(os.path.abspath(picture)) for picture in pictures])
    except ValueError:  # no picture, or several drives
        return None


def _with_article(kind: Kind) -> str:
    return f'{"an" if kind[0] in "aeiou" else "a"} {kind}'


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
