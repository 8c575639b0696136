"""Test data by name: a folder in a known layout, or a config."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_tapadl.datasets.acdc import CONDITIONS, IMAGE_FOLDERS
from mmseg_tapadl.utils import InputError, shown

_PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
_CITYSCAPES = {'img_path': 'leftImg8bit/val', 'seg_map_path': 'gtFine/val'}
_LABEL_END = '_gtFine_labelTrainIds.png'


def read_data(data: str | os.PathLike | Mapping[str, Any] | Config) -> Config:
    """The test data that a name stands for, as a config that describes nothing else.

    Args:
        data: A folder in the layout of Cityscapes (also CamVid and the demo city, as the converters write them) or of
            ACDC, of which the validation split is taken; a config file, or a config, of which the ``test_dataloader``
            is taken; or the ``dict(type=...)`` of a data set.

    Returns:
        A config with ``default_scope``, ``test_dataloader`` and, where there was one, ``test_evaluator``.

    Raises:
        InputError: No such thing, a folder in no known layout, or a config without test data.
    """
    import mmseg_tapadl.register  # noqa: F401  what the config names

    if isinstance(data, Config) or (isinstance(data, Mapping) and 'test_dataloader' in data):
        return _test_part(data, str(getattr(data, 'filename', None) or 'the config'))
    if isinstance(data, Mapping):
        if 'type' not in data:
            raise InputError(f'the data set {dict(data)} has no type')
        return _described(dict(data))
    path = Path(data)
    if path.is_dir():
        return _described(dataset_of_folder(path))
    if not path.is_file():
        raise InputError(f'--data {shown(path)}: no such folder or config')
    if path.suffix != '.py':
        raise InputError(
            f'--data {shown(path)}: must be a folder in the layout of Cityscapes or ACDC, or a config (.py)'
        )
    try:
        config = Config.fromfile(path)
    except Exception as error:  # a config is a program
        raise InputError(f'{shown(path)}: cannot be read: {type(error).__name__}: {error}') from error
    return _test_part(config, shown(path))


def dataset_of_folder(folder: str | os.PathLike) -> dict[str, Any]:
    """The config of the validation data set in a folder, without any transform that changes the picture.

    Raises:
        InputError: The folder is in no known layout, or its first picture has no label of trainIds.
    """
    root = Path(folder)
    if (root / _CITYSCAPES['img_path']).is_dir():
        _check_labels(root)
        return dict(
            type='CityscapesDataset',
            data_root=str(root),
            data_prefix=dict(_CITYSCAPES),
            test_mode=True,
            pipeline=[dict(step) for step in _PIPELINE],
        )
    if any((root / place / condition).is_dir() for place in IMAGE_FOLDERS for condition in CONDITIONS):
        return dict(
            type='ACDCDataset',
            data_root=str(root),
            split='val',
            test_mode=True,
            pipeline=[dict(step) for step in _PIPELINE],
        )
    raise InputError(
        f'--data {shown(root)}: neither leftImg8bit/val (Cityscapes, CamVid as tools/dataset_converters/camvid.py writes it) '
        f"nor {IMAGE_FOLDERS[0]}/{CONDITIONS[0]} (ACDC) is in this folder; name the data set's folder or a config"
    )


def _check_labels(root: Path) -> None:
    pictures = root / _CITYSCAPES['img_path']
    first = next(pictures.rglob('*_leftImg8bit.png'), None)
    if first is None:
        raise InputError(f'{shown(pictures)} holds no picture <city>/*_leftImg8bit.png')
    inside = first.relative_to(pictures)
    label = (
        root
        / _CITYSCAPES['seg_map_path']
        / inside.with_name(inside.name.removesuffix('_leftImg8bit.png') + _LABEL_END)
    )
    if not label.is_file():
        raise InputError(
            f'{shown(first)} has no label {shown(label)}: labels of trainIds are made by '
            'python -m cityscapesscripts.preparation.createTrainIdLabelImgs'
        )


def _described(dataset: dict[str, Any]) -> Config:
    return Config(
        dict(
            default_scope='mmseg',
            test_dataloader=dict(batch_size=1, num_workers=min(4, os.cpu_count() or 1), dataset=dataset),
        )
    )


def _test_part(config: Mapping[str, Any], name: str) -> Config:
    if not config.get('test_dataloader'):
        raise InputError(f'{name} has no test_dataloader, so there is nothing to measure on')
    part = {key: config[key] for key in ('test_dataloader', 'test_evaluator') if config.get(key)}
    part['default_scope'] = config.get('default_scope') or 'mmseg'
    return Config(part)
