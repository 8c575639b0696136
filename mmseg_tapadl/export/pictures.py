"""The pictures that an exported file is compared on."""

import logging
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.registry import DATASETS

from mmseg_tapadl.datasets.named_data import read_data
from mmseg_tapadl.inference.pictures import load_picture
from mmseg_tapadl.inference.sources import find_pictures
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.dataset_tree import datasets_of_loaders

COUNT = 3
_PAINTED = (256, 512)


def pictures_to_compare_on(
    config: Config, *, source: str | os.PathLike | None = None, data: str | os.PathLike | None = None
) -> list[np.ndarray]:
    """Up to three pictures, (H, W, 3), uint8, RGB: of ``source``, else of ``data``, else of the config's test set, else one
    that is painted.

    Args:
        config: Its test set need not be there.
        source: A picture or a folder.
        data: As :func:`~mmseg_tapadl.datasets.named_data.read_data` takes it.

    Raises:
        InputError: ``source`` or ``data`` is given and holds no picture.
    """
    if source is not None:
        paths: list[Any] = find_pictures(Path(source))[1]
    elif data is not None:
        paths = _paths_of(read_data(data))
    else:
        try:
            paths = _paths_of(config)
        except Exception:  # a data set that is not here fails in many ways
            paths = []
    if not paths:
        print_log(
            'no picture of the test data is here, so the file is compared on a painted one; name real ones with --pictures',
            logger='current',
            level=logging.WARNING,
        )
        return [_painted()]
    chosen = paths[:: max(1, len(paths) // COUNT)][:COUNT]
    return [load_picture(path)[:, :, ::-1].copy() for path in chosen]


def _paths_of(config: Config) -> list[str]:
    datasets = [DATASETS.build({**leaf, 'pipeline': []}) for leaf in datasets_of_loaders(config, ('test',))]
    paths = [
        dataset.get_data_info(index)['img_path'] for dataset in datasets for index in range(len(dataset))
    ]
    found = [path for path in paths if Path(path).is_file()]
    if not found:
        raise InputError(f'the data set has {len(paths)} pictures in its list and none on disk')
    return found


def _painted() -> np.ndarray:
    """Soft coloured spots: no street, but every value and many edges."""
    noise = np.random.default_rng(0).integers(0, 256, (*_PAINTED, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 5), None, 0, 255, cv2.NORM_MINMAX)
