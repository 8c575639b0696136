"""Data by name: a ``data.yaml``, a folder in a known layout, or a config."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mmengine.config import Config

from mmseg_tapadl.datasets.acdc import CONDITIONS, IMAGE_FOLDERS
from mmseg_tapadl.datasets.data_yaml.as_config import datasets_of
from mmseg_tapadl.datasets.data_yaml.description import Description
from mmseg_tapadl.datasets.data_yaml.layout import check_layout
from mmseg_tapadl.datasets.data_yaml.reading import read_description
from mmseg_tapadl.utils import InputError, shown

SPLITS = ('train', 'val', 'test')
YAML_ENDINGS = ('.yaml', '.yml')
_PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
_LABEL_END = '_gtFine_labelTrainIds.png'

Named: TypeAlias = str | os.PathLike | Mapping[str, Any] | Config


def read_data(data: Named) -> Config:
    """The test data that a name stands for, as a config that describes nothing else.

    Args:
        data: A ``data.yaml`` (docs/own_data.md), of which ``test`` is taken, else ``val``; a folder in the layout of
            Cityscapes (also CamVid and the demo city, as the converters write them) or of ACDC, of which the validation
            split is taken; a config file, or a config, of which the ``test_dataloader`` is taken; or the
            ``dict(type=...)`` of a data set.

    Returns:
        A config with ``default_scope``, ``test_dataloader`` and, where there was one, ``test_evaluator``.

    Raises:
        InputError: No such thing, a file of data with a fault, a folder in no known layout, or nothing to test on.
    """
    found = read_splits(data, ('test',))
    if not found.get('test_dataloader'):
        what = 'neither test: nor val:' if _is_yaml(data) else 'no test_dataloader'
        raise InputError(f'{name_of(data)} has {what}, so there is nothing to measure on')
    part = {
        key: found[key] for key in ('test_dataloader', 'test_evaluator', 'default_scope') if found.get(key)
    }
    return Config(part)


def read_splits(data: Named, used: Sequence[str] = SPLITS) -> Config:
    """All the data that a name stands for: as :func:`read_data`, with every split that is there.

    Args:
        data: As there. A dataset's ``dict`` is taken for the test split.
        used: The splits whose files must be there; of a ``data.yaml`` the others are not looked up.

    Returns:
        A config with ``default_scope``, ``{train,val,test}_dataloader`` and, of configs, ``{val,test}_evaluator``.

    Raises:
        InputError: As there, but for a split that is missing.
    """
    import mmseg_tapadl.register  # noqa: F401  what the config names

    if isinstance(data, Config) or (
        isinstance(data, Mapping) and any(f'{split}_dataloader' in data for split in SPLITS)
    ):
        return _parts(data)
    if isinstance(data, Mapping):
        if 'type' not in data:
            raise InputError(f'the data set {dict(data)} has no type')
        return _described({'test': dict(data)})
    path = Path(data)
    if path.is_dir():
        return _described(datasets_of_folder(path))
    if not path.is_file():
        raise InputError(f'--data {shown(path)}: no such folder or config, and no such data.yaml')
    if _is_yaml(path):
        return _described(_datasets_of_description(read_description(path), used))
    if path.suffix != '.py':
        raise InputError(
            f'--data {shown(path)}: must be a folder in the layout of Cityscapes or ACDC, a config (.py), or a data.yaml '
            '(docs/own_data.md)'
        )
    try:
        config = Config.fromfile(path)
    except Exception as error:  # a config is a program
        raise InputError(f'{shown(path)}: cannot be read: {type(error).__name__}: {error}') from error
    return _parts(config)


def own_splits(config: Mapping[str, Any]) -> list[str]:
    """The splits of a config that are not the same data as another one before it."""
    seen: list[Any] = []
    splits = []
    for split in SPLITS:
        dataset = (config.get(f'{split}_dataloader') or {}).get('dataset')
        if dataset is not None and dataset not in seen:
            seen.append(dataset)
            splits.append(split)
    return splits


def name_of(data: Named) -> str:
    """What to call it in messages."""
    if isinstance(data, (str, os.PathLike)):
        return shown(data)
    return str(getattr(data, 'filename', None) or 'the config')


def datasets_of_folder(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """The configs of the data sets in a folder by split, without any transform that changes the picture.

    ``test`` is the validation split: the labels of the test splits are withheld.

    Raises:
        InputError: The folder is in no known layout, or its first picture has no label of trainIds.
    """
    root = Path(folder)
    cityscapes = {split: _cityscapes_prefix(split) for split in ('train', 'val')}
    if (root / cityscapes['val']['img_path']).is_dir():
        _check_labels(root)
        found: dict[str, dict[str, Any]] = {
            split: dict(type='CityscapesDataset', data_prefix=prefix)
            for split, prefix in cityscapes.items()
            if (root / prefix['img_path']).is_dir()
        }
    else:
        places = [root / place / condition for place in IMAGE_FOLDERS for condition in CONDITIONS]
        if not any(place.is_dir() for place in places):
            raise InputError(
                f'--data {shown(root)}: neither leftImg8bit/val (Cityscapes, CamVid as tools/dataset_converters/camvid.py '
                f"writes it) nor {IMAGE_FOLDERS[0]}/{CONDITIONS[0]} (ACDC) is in this folder; name the data set's folder, a "
                'config, or a data.yaml that describes it (tools/init_data.py writes a first one)'
            )
        has_train = any((place / 'train').is_dir() for place in places)
        found = {
            split: dict(type='ACDCDataset', split=split)
            for split in (['train', 'val'] if has_train else ['val'])
        }
    for split, dataset in found.items():
        dataset |= dict(data_root=str(root), pipeline=[dict(step) for step in _PIPELINE])
        if split != 'train':
            dataset['test_mode'] = True
    return {**found, 'test': dict(found['val'])}


def _cityscapes_prefix(split: str) -> dict[str, str]:
    return {'img_path': f'leftImg8bit/{split}', 'seg_map_path': f'gtFine/{split}'}


def _check_labels(root: Path) -> None:
    prefix = _cityscapes_prefix('val')
    pictures = root / prefix['img_path']
    first = next(pictures.rglob('*_leftImg8bit.png'), None)
    if first is None:
        raise InputError(f'{shown(pictures)} holds no picture <city>/*_leftImg8bit.png')
    inside = first.relative_to(pictures)
    name = inside.name.removesuffix('_leftImg8bit.png') + _LABEL_END
    label = root / prefix['seg_map_path'] / inside.with_name(name)
    if not label.is_file():
        raise InputError(
            f'{shown(first)} has no label {shown(label)}: labels of trainIds are made by '
            'python -m cityscapesscripts.preparation.createTrainIdLabelImgs'
        )


def _datasets_of_description(description: Description, used: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By split; ``test`` is ``val`` where the file has no ``test:``."""
    if description.kind == 'acdc':
        return datasets_of_folder(description.roots[0])
    if 'test' in used and 'test' not in description.splits:
        used = ['val' if split == 'test' else split for split in used]
    check_layout(description, list(dict.fromkeys(used)))
    found = datasets_of(description)
    if 'val' in found:
        found.setdefault('test', dict(found['val']))
    return found


def _is_yaml(data: Named) -> bool:
    return isinstance(data, (str, os.PathLike)) and Path(data).suffix.lower() in YAML_ENDINGS


def _described(datasets: Mapping[str, dict[str, Any]]) -> Config:
    workers = min(4, os.cpu_count() or 1)
    loaders = {
        f'{split}_dataloader': dict(batch_size=1, num_workers=workers, dataset=dataset)
        for split, dataset in datasets.items()
    }
    return Config(dict(default_scope='mmseg', **loaders))


def _parts(config: Mapping[str, Any] | Config) -> Config:
    keys = [f'{split}_{part}' for split in SPLITS for part in ('dataloader', 'evaluator')]
    part = {key: config[key] for key in keys if config.get(key)}
    if not any(f'{split}_dataloader' in part for split in SPLITS):
        raise InputError(f'{name_of(config)} has no dataloader, so it describes no data')
    part['default_scope'] = config.get('default_scope') or 'mmseg'
    return Config(part)
