"""The pictures of one cell: any config's test data set with one more transform in its pipeline."""

import copy
import os
import time
import warnings
from collections.abc import Iterator
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement
from mmseg.registry import DATASETS, TRANSFORMS
from torch.utils.data import DataLoader, Dataset

from mmseg_tapadl.agreement.other_data import take_data
from mmseg_tapadl.datasets.named_data import name_of, read_data
from mmseg_tapadl.datasets.transforms import CorruptImage, TakePregenerated
from mmseg_tapadl.engine.repeatable.placed_samples import name_samples
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.utils import InputError

# What a sample's metainfo calls the seconds of this picture: corrupting it, and all else of loading it.
SECONDS = 'loading_seconds'


class TimedSamples(Dataset):
    """A data set whose samples tell how long they took; see :data:`SECONDS`.

    Args:
        dataset: Any mmengine data set.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        start, corrupting = time.perf_counter(), CorruptImage.seconds
        packed = self.dataset[index]
        corrupting = CorruptImage.seconds - corrupting
        seconds = corrupting, time.perf_counter() - start - corrupting
        samples = packed.get('data_samples') if isinstance(packed, dict) else None
        for sample in samples if isinstance(samples, list) else [samples]:
            if isinstance(sample, BaseDataElement):
                sample.set_metainfo({SECONDS: seconds})
        return packed


def dataset_for_cell(
    dataset: dict, cell: Cell, *, seed: int, channel_order: str, pregenerated: str | None = None
) -> Dataset:
    """Builds the data set of a cell; a sample of it that cannot be made is a ``SampleError`` that names its files.

    Args:
        dataset: The config of the clean data set; wrappers (``dataset``, ``datasets``) are looked through.
        cell: The corruption and severity, or ``CLEAN``.
        seed: Of the corruptions.
        channel_order: ``'bgr'`` or ``'rgb'``.
        pregenerated: A pre-generated tree to read the corrupted pictures from.

    Raises:
        InputError: When a pipeline has no transform that loads pictures from files.
    """
    dataset = copy.deepcopy(dict(dataset))
    for leaf in dataset_parts(dataset):
        # Also for the clean cell: it comes first, and a sweep that cannot go on must not begin.
        _loading_position(leaf.get('pipeline') or [])
    if cell != CLEAN:
        dataset = _with_cell(dataset, cell, seed, channel_order, pregenerated)
    built = DATASETS.build(dataset)
    if hasattr(built, 'full_init'):
        built.full_init()
    name_samples(built)
    return built


def picture_paths(dataset: Any) -> list[str]:
    """The paths of a data set's pictures as it knows them, in its order."""
    return [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]


def _with_cell(dataset: dict, cell: Cell, seed: int, channel_order: str, pregenerated: str | None) -> dict:
    """A data set's config with the cell's transform in the pipeline of each data set in it."""
    inside = (cell, seed, channel_order, pregenerated)
    if 'dataset' in dataset:
        return {**dataset, 'dataset': _with_cell(dataset['dataset'], *inside)}
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [_with_cell(part, *inside) for part in dataset['datasets']]}
    pipeline = list(dataset.get('pipeline') or ())
    position = _loading_position(pipeline)
    # Found in mmseg's registry, whatever the config's own scope is.
    inserted: dict = dict(_scope_='mmseg', corruption=cell.corruption, severity=cell.severity)
    if pregenerated is None:
        inserted.update(
            type=CorruptImage.__name__,
            channel_order=channel_order,
            seed=seed,
            data_root=dataset.get('data_root'),
        )
        position += 1
    else:
        inserted.update(
            type=TakePregenerated.__name__, root=pregenerated, image_folder=_image_folder(dataset)
        )
    return {**dataset, 'pipeline': [*pipeline[:position], inserted, *pipeline[position:]]}


def dataset_parts(dataset: dict) -> Iterator[dict]:
    """The configs of the data sets that hold pictures, wrappers looked through."""
    parts = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets')
    if parts is None:
        yield dataset
        return
    for part in parts:
        yield from dataset_parts(part)


def pictures_only(dataset: dict) -> dict:
    """A data set's config whose pipelines load the picture and its label and change neither.

    Args:
        dataset: The config; wrappers are looked through.

    Raises:
        InputError: When a pipeline has no transform that loads pictures from files.
    """
    if 'dataset' in dataset:
        return {**dataset, 'dataset': pictures_only(dataset['dataset'])}
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [pictures_only(part) for part in dataset['datasets']]}
    pipeline = list(dataset.get('pipeline') or ())
    labels = [step for step in pipeline if 'LoadAnnotations' in getattr(_class_of(step), '__name__', '')]
    loading = pipeline[_loading_position(pipeline)]
    return {**dataset, 'pipeline': [loading, *labels, dict(type='PackSegInputs', _scope_='mmseg')]}


def with_test_data(config: Config, data: str | os.PathLike) -> Config:
    """A config whose test data are others, brought to the model by the same pipeline; heads tell their classes apart.

    Args:
        config: Of a model, with a ``test_dataloader``.
        data: As :func:`~mmseg_tapadl.datasets.named_data.read_data` takes it.

    Raises:
        InputError: There is no such data, or the config has no ``test_dataloader``.
    """
    if not config.get('test_dataloader'):
        raise InputError(f'{config.filename} has no test_dataloader to take the pipeline from')
    changed = copy.deepcopy(config)
    for note in take_data(changed, read_data(data), name=name_of(data), splits=('test',)):
        print_log(note, logger='current')
    return changed


def _class_of(transform: dict) -> Any:
    cls = transform['type']
    return TRANSFORMS.get(cls) if isinstance(cls, str) else cls


def _loading_position(pipeline: list[dict]) -> int:
    for position, transform in enumerate(pipeline):
        cls = _class_of(transform)
        if isinstance(cls, type) and (issubclass(cls, LoadImageFromFile) or 'LoadImage' in cls.__name__):
            return position
    names = ', '.join(str(transform.get('type')) for transform in pipeline)
    raise InputError(f'the test pipeline ({names}) has no LoadImageFromFile to put CorruptImage after')


def _image_folder(leaf: dict) -> str:
    prefix = (leaf.get('data_prefix') or {}).get('img_path', '')
    return os.path.join(leaf.get('data_root') or '', prefix)


def check_pregenerated(root: str, dataset: Dataset, dataset_config: dict, cells: list[Cell]) -> None:
    """Looks for every file that the sweep will read, before it starts.

    Raises:
        InputError: Naming the first missing file and the number of missing ones.
    """
    folders = {_image_folder(leaf) for leaf in dataset_parts(dataset_config)}
    paths = picture_paths(dataset)
    missing = []
    for cell in cells:
        for folder in folders:
            transform = TakePregenerated(root, cell.corruption, cell.severity, folder)
            inside = [
                path for path in paths if os.path.abspath(path).startswith(os.path.abspath(folder) + os.sep)
            ]
            missing += [path for path in map(transform.path_for, inside) if not os.path.isfile(path)]
    if missing:
        raise InputError(
            f'{len(missing)} of {len(cells) * len(paths)} pre-generated pictures are missing, the first is '
            f'{missing[0]}; make them with tools/dataset_converters/cityscapes_c.py'
        )


def loader_for(
    dataset: Dataset, *, batch_size: int, num_workers: int, rank: int = 0, processes: int = 1
) -> DataLoader:
    """A loader over this process's share of the batches.

    Whole batches are dealt out in turn, so that a batch holds the same pictures however many processes there
    are, and none is repeated to fill up. Batch j of process r is batch ``j * processes + r`` of the data set.
    """
    indices = range(len(dataset))  # type: ignore[arg-type]
    batches = [list(indices[start : start + batch_size]) for start in range(0, len(indices), batch_size)]
    with warnings.catch_warnings():
        # torch advises against more workers than cores; the config's author has decided.
        warnings.filterwarnings('ignore', message='This DataLoader will create')
        return DataLoader(
            TimedSamples(dataset),
            batch_sampler=batches[rank::processes],
            num_workers=num_workers,
            collate_fn=pseudo_collate,
            # Forked workers share the libraries that are already loaded and compiled.
            multiprocessing_context='fork' if num_workers else None,
        )
