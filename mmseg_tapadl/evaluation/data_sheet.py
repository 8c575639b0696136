"""One picture to look at: some pictures of a data set beside themselves under their masks."""

import os

import cv2
import numpy as np
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS

from mmseg_tapadl.datasets.named_data import own_splits, read_splits
from mmseg_tapadl.evaluation.overlay import overlay_labels
from mmseg_tapadl.evaluation.seen_pictures import as_bgr
from mmseg_tapadl.utils import atomic_write

_WIDTH = 480
_GAP = 6


def write_sheet(data: str | os.PathLike, file: str | os.PathLike, *, count: int = 6) -> int:
    """Writes pictures of a ``data.yaml``, each beside itself under its classes with a legend, as one JPEG.

    Args:
        data: The file of data.
        file: The picture to write.
        count: How many pictures, spread evenly over all that have a mask.

    Returns:
        How many are shown.

    Raises:
        InputError: The data cannot be read, or a mask holds a value in no list.
    """
    config = read_splits(data)
    rows = []
    with DefaultScope.overwrite_default_scope('mmseg'):
        sets = [DATASETS.build(config[f'{split}_dataloader'].dataset) for split in own_splits(config)]
        entries = [
            (dataset, number)
            for dataset in sets
            for number in range(len(dataset))
            if os.path.isfile(dataset.get_data_info(number).get('seg_map_path') or '')
        ]
        for dataset, number in entries[:: max(1, len(entries) // count)][:count]:
            sample = dataset[number]
            picture = as_bgr(sample['inputs'].permute(1, 2, 0).numpy())
            labels = sample['data_samples'].gt_sem_seg.data[0].numpy()
            rows.append(_row(picture, labels, dataset.metainfo))
    height = max(row.shape[0] for row in rows)
    padded = [
        cv2.copyMakeBorder(
            row, 0, height - row.shape[0] + _GAP, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255)
        )
        for row in rows
    ]
    with atomic_write(file) as out:
        out.write(cv2.imencode('.jpg', np.vstack(padded))[1].tobytes())
    return len(rows)


def _row(picture: np.ndarray, labels: np.ndarray, metainfo: dict) -> np.ndarray:
    """A picture and its labels side by side, (h, 2 * 480 + 6, 3)."""
    scale = _WIDTH / picture.shape[1]
    size = _WIDTH, max(1, round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    ids = cv2.resize(labels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    painted = overlay_labels(
        small, ids, classes=metainfo['classes'], palette=metainfo['palette'], opacity=0.7
    )
    below = painted.shape[0] - small.shape[0]
    small = cv2.copyMakeBorder(small, 0, below, 0, _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.hstack([small, painted])
