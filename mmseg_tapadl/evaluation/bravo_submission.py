"""The raw submission of the BRAVO challenge: made from label maps and confidence maps, and checked.

For every picture ``<path>.png`` (or ``.jpg``) of the challenge two files at the same place in a tar: ``<path>_pred.png``,
8 bit, trainIds 0 to 18, and ``<path>_conf.png``, 16 bit, the confidence of the predicted class, 65535 for 1. Source:
the challenge's own description (github.com/valeoai/bravo_challenge).
"""

import gzip
import io
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from mmseg_tapadl.evaluation.acdc_submission import NUM_CLASSES
from mmseg_tapadl.evaluation.submitted_png import COLOUR_TYPES, GREY, PngFault, read_png
from mmseg_tapadl.utils import InputError, atomic_write, shown

# Folders of the challenge's data, and how the names of their pictures end: the challenge's encoder knows no others.
SUBSETS: dict[str, str] = {
    'bravo_ACDC': '_rgb_anon',
    'bravo_SMIYC': '',
    'bravo_outofcontext': '_leftImg8bit',
    'bravo_synflare': '_leftImg8bit',
    'bravo_synobjs': '',
    'bravo_synrain': '_leftImg8bit',
}
# What may lie beside pictures whose names tell nothing: their labels, and predictions of them.
_NO_PICTURES = (
    *('_labels_semantic', '_labels_semantic_color', '_labels_semantic_fake', '_gt', '_mask'),
    *('_pred', '_conf'),
)
_PICTURES = ('.png', '.jpg', '.jpeg')
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
    for subset, end in SUBSETS.items():
        for path in sorted((root / subset).rglob('*')):
            is_picture = path.suffix.lower() in _PICTURES and path.stem.endswith(end)
            if is_picture and not path.stem.endswith(_NO_PICTURES) and path.is_file():
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
                fault = next(_faults_of(shown(source), data, picture, _KINDS[end]), None)
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
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InputError(f'{shown(archive)} is not a whole tar file ({error})') from error


def _faults(archive: tarfile.TarFile, pictures: dict[str, Path]) -> Iterator[str]:
    wanted = {
        f'{stem}{end}': (picture, kind) for stem, picture in pictures.items() for end, kind in _KINDS.items()
    }
    seen: Counter[str] = Counter()
    for member in archive:
        if member.isdir():
            continue
        name = shown(member.name)
        seen[member.name] += 1
        if member.name not in wanted:
            plain = PurePosixPath(member.name).as_posix()
            hint = f' (the challenge looks for {shown(plain)})' if plain in wanted else ''
            yield f'{name}: no picture of the challenge has this file{hint}'
        elif not member.isfile() or member.size > _HUGE:
            yield f'{name}: is no file of a plausible size'
        elif seen[member.name] == 1:
            content = archive.extractfile(member)
            assert content is not None
            yield from _faults_of(name, content.read(), *wanted[member.name])
    for name, count in seen.items():
        if count > 1:
            yield f'{shown(name)}: occurs {count} times'
    for name in sorted(set(wanted) - set(seen)):
        yield f'{shown(name)}: is missing'


def _faults_of(name: str, data: bytes, picture: Path, kind: _Kind) -> Iterator[str]:
    try:
        png = read_png(data, picture)
    except PngFault as fault:
        yield f'{name}: {fault}'
        return
    if png.bits != kind.bits or png.colour != GREY:
        colour = COLOUR_TYPES.get(png.colour, 'unknown kind')
        yield f'{name}: must have one grey channel of {kind.bits} bits, has {png.bits} bits ({colour})'
        return
    wrong = np.unique(png.values[png.values > kind.highest])
    if wrong.size:
        yield f'{name}: holds the values {wrong[:8].tolist()}, must hold {kind.holds} only'
