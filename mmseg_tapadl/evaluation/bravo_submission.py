"""The raw submission of the BRAVO challenge: made from label maps and confidence maps, and checked.

For every picture ``<path>.png`` (or ``.jpg``) of the challenge two files at the same place in a tar: ``<path>_pred.png``,
8 bit, trainIds 0 to 18, and ``<path>_conf.png``, 16 bit, the confidence of the predicted class, 65535 for 1. Source:
the challenge's own description (github.com/valeoai/bravo_challenge).
"""

import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmseg_tapadl.evaluation.acdc_submission import NUM_CLASSES
from mmseg_tapadl.utils import InputError, atomic_write, shown

# Folders of the challenge's data.
SUBSETS: tuple[str, ...] = (
    *('bravo_ACDC', 'bravo_SMIYC', 'bravo_outofcontext', 'bravo_synflare', 'bravo_synobjs', 'bravo_synrain'),
)
_PICTURES = ('.png', '.jpg', '.jpeg')
# PNG: bits a channel, and the colour type of one channel of grey.
_BIT_DEPTH_AT, _COLOUR_TYPE_AT, _GREY = 24, 25, 0
_HUGE = 1 << 27


class _Kind(NamedTuple):
    bits: int
    highest: int
    holds: str


_KINDS = {
    '_pred.png': _Kind(8, NUM_CLASSES - 1, f'trainIds 0 to {NUM_CLASSES - 1}'),
    '_conf.png': _Kind(16, (1 << 16) - 1, 'confidences 0 to 65535'),
}


def pictures_of(data_root: str | Path) -> dict[str, Path]:
    """The challenge's pictures, by their path below the root without the suffix.

    Raises:
        InputError: When there are none, or two differ in their suffix only.
    """
    root = Path(data_root)
    found: dict[str, Path] = {}
    for subset in SUBSETS:
        for path in sorted((root / subset).rglob('*')):
            if path.suffix.lower() in _PICTURES and path.is_file():
                stem = path.relative_to(root).with_suffix('').as_posix()
                if stem in found:
                    raise InputError(f'{shown(found[stem])} and {shown(path)} would share a prediction')
                found[stem] = path
    if not found:
        raise InputError(f'{shown(root)} holds no picture in {", ".join(SUBSETS)}')
    return found


def write_submission(predictions: str | Path, data_root: str | Path, target: str | Path) -> int:
    """Puts the results of ``tools/predict.py --confidence`` into a tar that takes its name only when it is whole.

    Args:
        predictions: The folder with ``labels/`` and ``confidence/``, made from ``data_root``.
        data_root: The challenge's pictures.
        target: The tar to write.

    Returns:
        The number of pictures.

    Raises:
        InputError: When a result is missing or not as it must be; the message names it.
    """
    pictures = pictures_of(data_root)
    folders = {'_pred.png': Path(predictions) / 'labels', '_conf.png': Path(predictions) / 'confidence'}
    with atomic_write(target) as file, tarfile.open(fileobj=file, mode='w') as archive:
        for stem, picture in pictures.items():
            for end, folder in folders.items():
                source = folder / f'{stem}.png'
                if not source.is_file():
                    raise InputError(
                        f'{shown(source)} is missing: label {shown(data_root)} with tools/predict.py --confidence'
                    )
                data = source.read_bytes()
                fault = next(iter(_faults_of(str(source), data, picture, _KINDS[end])), None)
                if fault is not None:
                    raise InputError(fault)
                member = tarfile.TarInfo(f'{stem}{end}')
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return len(pictures)


def check_submission(archive: str | Path, data_root: str | Path) -> list[str]:
    """Everything that is wrong with a submission.

    Args:
        archive: The tar.
        data_root: The challenge's pictures.

    Returns:
        One line a fault, each with its file; empty for a good submission.

    Raises:
        InputError: When the tar or the pictures do not exist, or the file is no tar.
    """
    pictures = pictures_of(data_root)
    if not Path(archive).is_file():
        raise InputError(f'{shown(archive)} does not exist')
    try:
        with tarfile.open(archive) as opened:
            return list(_faults(opened, pictures))
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f'{shown(archive)} is not a whole tar file ({error})') from error


def _faults(archive: tarfile.TarFile, pictures: dict[str, Path]) -> Iterator[str]:
    wanted = {
        f'{stem}{end}': (picture, kind) for stem, picture in pictures.items() for end, kind in _KINDS.items()
    }
    seen: Counter[str] = Counter()
    for member in archive:
        if member.isdir():
            continue
        name = member.name.removeprefix('./')
        seen[name] += 1
        if name not in wanted:
            yield f'{name}: no picture of the challenge has this file'
        elif not member.isfile() or member.size > _HUGE:
            yield f'{name}: is no file of a plausible size'
        elif seen[name] == 1:
            content = archive.extractfile(member)
            assert content is not None
            yield from _faults_of(name, content.read(), *wanted[name])
    for name, count in seen.items():
        if count > 1:
            yield f'{name}: occurs {count} times'
    for name in sorted(set(wanted) - set(seen)):
        yield f'{name}: is missing'


def _faults_of(name: str, data: bytes, picture: Path, kind: _Kind) -> Iterator[str]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format != 'PNG':
                yield f'{name}: is a {image.format} file, must be PNG'
                return
            size, values = image.size, np.asarray(image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        yield f'{name}: cannot be read as a picture ({error})'
        return
    with Image.open(picture) as source:
        expected = source.size
    if size != expected:
        yield f'{name}: is {size[0]}x{size[1]}, its picture {expected[0]}x{expected[1]} (width x height)'
    if data[_BIT_DEPTH_AT] != kind.bits or data[_COLOUR_TYPE_AT] != _GREY:
        yield f'{name}: must have one grey channel of {kind.bits} bits'
        return
    wrong = np.unique(values[values > kind.highest])
    if wrong.size:
        yield f'{name}: holds the values {wrong[:8].tolist()}, must hold {kind.holds} only'
