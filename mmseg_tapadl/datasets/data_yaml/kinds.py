"""Data sets that a ``data.yaml`` can name by ``kind:``: what it need not say of them."""

from pathlib import Path
from typing import Any

from cityscapesscripts.helpers.labels import labels as CITYSCAPES_LABELS

from mmseg_tapadl.datasets.camvid import CAMVID_LABELS, SPLITS

_TRAIN_IDS = sorted(
    (label for label in CITYSCAPES_LABELS if 0 <= label.trainId < 255), key=lambda label: label.trainId
)
# Classes by trainId, in the colours of cityscapesScripts.
_TRAIN_ID_CLASSES: dict[str, Any] = dict(
    classes=[dict(name=label.name, ids=[label.trainId], color=list(label.color)) for label in _TRAIN_IDS],
    ignore=dict(ids=[255]),
)
_CITYSCAPES: dict[str, Any] = dict(
    train='leftImg8bit/train',
    val='leftImg8bit/val',
    pictures='{stem}_leftImg8bit.png',
    masks='gtFine/{split}/{folder}/{stem}_gtFine_labelTrainIds.png',
    **_TRAIN_ID_CLASSES,
)
_COLOUR_OF = {label.name: list(label.color) for label in CITYSCAPES_LABELS}
# The release as it is downloaded, with its own 11 classes.
_CAMVID: dict[str, Any] = dict(
    train='train',
    val='val',
    test='test',
    masks='{split}annot/{folder}/{name}',
    classes=[
        dict(name=name, ids=[number], color=_COLOUR_OF[city])
        for number, (name, city) in CAMVID_LABELS.items()
        if city is not None
    ],
    ignore=dict(ids=[number for number, (_, city) in CAMVID_LABELS.items() if city is None]),
)
KINDS = ('cityscapes', 'acdc', 'camvid')
LAYOUT = ('train', 'val', 'test', 'pictures', 'masks')


def defaults_of(kind: str, root: Path) -> dict[str, Any]:
    """What a kind says in place of the keys that a file leaves out.

    Args:
        kind: One of :data:`KINDS`.
        root: Where it lies: CamVid lies there as downloaded, or as the converter writes it.
    """
    if kind == 'acdc':
        return _TRAIN_ID_CLASSES
    found = _CAMVID if kind == 'camvid' and not (root / 'leftImg8bit').is_dir() else _CITYSCAPES
    # A person may have some splits only.
    absent = {split for split in SPLITS if split in found and not (root / found[split]).is_dir()}
    if absent >= found.keys() & set(SPLITS):
        return found
    return {key: value for key, value in found.items() if key not in absent}
