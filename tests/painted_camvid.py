"""A stand-in for the CamVid release: painted streets under names, sizes and ids of its form."""

from pathlib import Path

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import name2label

from demo_city import DemoCityOptions, list_pictures, paint_picture

_COUNTS = {'train': 4, 'val': 2}
_VOID = 11
# The release's ids in its order, as classes of Cityscapes; what has no counterpart there is void.
_CLASSES = (
    *('sky', 'building', 'pole', 'road', 'sidewalk', 'vegetation', 'traffic sign', 'fence', 'car', 'person'),
    'bicycle',
)


def paint_camvid(root: Path) -> Path:
    """Writes ``train``, ``trainannot``, ``val`` and ``valannot``; returns ``root``."""
    ids = np.full(256, _VOID, dtype=np.uint8)
    for number, name in enumerate(_CLASSES):
        ids[name2label[name].trainId] = number
    nothing = dict.fromkeys(('adverse_train', 'adverse_val', 'adverse_test'), 0)
    options = DemoCityOptions(**_COUNTS, **nothing, width=480, height=360)
    for picture in list_pictures(options):
        pixels, labels = paint_picture(picture, options)
        for folder, content in ((picture.split, pixels), (f'{picture.split}annot', ids[labels])):
            (root / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / folder / f'0001TP_{picture.index:06d}.png'), content)
    return root
