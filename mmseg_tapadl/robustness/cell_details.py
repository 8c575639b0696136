"""``details/<cell>.zip``: what a page needs of a cell beyond its numbers; written and read one cell at a time."""

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmseg_tapadl.evaluation.confidence import ConfidenceCounts
from mmseg_tapadl.robustness.small_pictures import SmallPicture
from mmseg_tapadl.utils import atomic_write

_ABOUT, _CONFIDENCE = 'about.json', 'confidence.npy'
_FACTS = ('index', 'name', 'condition', 'labelled', 'wrong')
_FILES = {'picture': 'webp', 'prediction': 'png', 'label': 'png'}


@dataclass(frozen=True)
class CellDetails:
    """What is kept of a cell beside its record.

    Attributes:
        confidence: Right and wrong pixels by confidence; None where it is not known.
        pictures: Small copies, in the order of the data set.
    """

    confidence: ConfidenceCounts | None
    pictures: Sequence[SmallPicture] = ()


class DamagedDetails(ValueError):
    """A file that holds no details."""


def write_details(path: Path, details: CellDetails, sweep: str) -> None:
    """Writes the file whole or not at all.

    Args:
        path: The file.
        details: Its content.
        sweep: Digest of the sweep that the cell belongs to.
    """
    about = {
        'sweep': sweep,
        'pictures': [{key: getattr(small, key) for key in _FACTS} for small in details.pictures],
    }
    with atomic_write(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
        archive.writestr(_ABOUT, json.dumps(about), zipfile.ZIP_DEFLATED)
        if details.confidence is not None:
            buffer = io.BytesIO()
            np.save(buffer, details.confidence.pack(), allow_pickle=False)
            archive.writestr(_CONFIDENCE, buffer.getvalue(), zipfile.ZIP_DEFLATED)
        for small in details.pictures:
            for key, suffix in _FILES.items():
                archive.writestr(_member(small.index, key, suffix), getattr(small, key))


class DetailsFile:
    """A file of details, opened for reading one thing at a time.

    Args:
        path: The file.

    Raises:
        DamagedDetails: When it is none; the message names it.
        OSError: When it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._about = self._json()

    @property
    def sweep(self) -> str | None:
        """Digest of the sweep that the cell belongs to."""
        return self._about.get('sweep')

    @property
    def pictures(self) -> list[dict]:
        """``index``, ``name``, ``condition``, ``labelled`` and ``wrong`` of the pictures that are kept."""
        return self._about['pictures']

    def confidence(self) -> ConfidenceCounts | None:
        """Right and wrong pixels by confidence; None where it is not known."""
        with self._open() as archive:
            if _CONFIDENCE not in archive.namelist():
                return None
            try:
                packed = np.load(io.BytesIO(archive.read(_CONFIDENCE)), allow_pickle=False)
                return ConfidenceCounts.unpack(packed)
            except (ValueError, zipfile.BadZipFile) as error:
                raise DamagedDetails(f'{self.path} is damaged ({error})') from error

    def small(self, facts: dict) -> SmallPicture:
        """One of :attr:`pictures` with its small copies."""
        with self._open() as archive:
            try:
                files = {
                    key: archive.read(_member(facts['index'], key, suffix)) for key, suffix in _FILES.items()
                }
            except (KeyError, zipfile.BadZipFile) as error:
                raise DamagedDetails(f'{self.path} is damaged ({error})') from error
        return SmallPicture(**{**facts, **files})

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise DamagedDetails(f'{self.path} is damaged ({error})') from error

    def _json(self) -> dict:
        with self._open() as archive:
            try:
                about = json.loads(archive.read(_ABOUT))
                if not all(set(facts) == set(_FACTS) for facts in about['pictures']):
                    raise ValueError('a picture is described in another way')
            except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
                raise DamagedDetails(f'{self.path} is damaged ({type(error).__name__}: {error})') from error
        return about


def _member(index: int, key: str, suffix: str) -> str:
    return f'pictures/{index:06d}/{key}.{suffix}'
