"""The pictures whose attention is looked at, clean and corrupted, as the model's own pipeline brings them to it."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose as ComposeOfMMCV
from mmengine.config import Config
from mmengine.dataset import Compose

from mmseg_tapadl.datasets.transforms import CorruptImage
from mmseg_tapadl.engine.building import building
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.evaluation.seen_pictures import loading_position, loads_labels
from mmseg_tapadl.robustness.cell_data import dataset_for_cell, picture_paths, with_test_data
from mmseg_tapadl.utils import InputError, shown
from mmseg_tapadl.utils.dataset_tree import leaf_datasets

SEED = 0
CHANNEL_ORDER = 'bgr'


class Pictures(ABC):
    """Numbered pictures; :meth:`sample` gives one as a data loader would."""

    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    @abstractmethod
    def sample(self, index: int, cell: Cell) -> dict[str, Any]:
        """``inputs`` (3, h, w) BGR and ``data_samples`` of one picture, corrupted as the sweep corrupts it.

        Raises:
            InputError: The picture cannot be read; it is named.
        """


class FilePictures(Pictures):
    """Pictures by their names, without labels, as mmseg's ``inference_model`` and the config's tests see them.

    Args:
        config: Of the model; its ``test_pipeline``, else that of its test data set, is taken.
        paths: Of the pictures.

    Raises:
        InputError: The config has no pipeline that loads a picture.
    """

    def __init__(self, config: Config, paths: Sequence[str | os.PathLike]):
        self.paths = [os.fspath(path) for path in paths]
        self._roots = [
            os.path.abspath(leaf['data_root']) for leaf in _leaves(config) if leaf.get('data_root')
        ]
        with building(config, 'test_pipeline'):
            steps = Compose(_pipeline_of(config)).transforms
        self._steps = [step for step in steps if not loads_labels(step)]
        position = loading_position(self._steps)
        if position is None:
            raise InputError(f'{config.filename}: the test pipeline loads no picture from a file')
        self._loaded = position + 1

    def sample(self, index: int, cell: Cell) -> dict[str, Any]:
        """See the base class."""
        path = self.paths[index]
        absolute = os.path.abspath(path)
        # Where the picture is one of the config's own data set, it is named, and so corrupted, as the sweep does it.
        root = next((root for root in self._roots if Path(absolute).is_relative_to(root)), None)
        results, steps = self._loading(path if root is None else absolute)
        if cell != CLEAN:
            corrupt = CorruptImage(
                cell.corruption, cell.severity, channel_order=CHANNEL_ORDER, seed=SEED, data_root=root
            )
            steps.insert(self._loaded, corrupt)
        try:
            return ComposeOfMMCV(steps)(results)
        except InputError:
            raise
        except Exception as error:  # decoders raise many kinds
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise InputError(f'{shown(path)}: not a readable picture ({shown(reason)})') from error

    def _loading(self, path: str) -> tuple[Any, list[Any]]:
        """What the pipeline starts with, and its steps."""
        return {'img_path': path}, list(self._steps)


class DecodedPicture(FilePictures):
    """One picture that is in memory, through the same pipeline; its name alone decides how it is corrupted.

    Args:
        config: Of the model.
        name: What to call it.
        picture: (H, W, 3) BGR, uint8.

    Raises:
        InputError: The config has no pipeline that loads a picture.
    """

    def __init__(self, config: Config, name: str, picture: np.ndarray):
        super().__init__(config, [name])
        self._picture = picture

    def _loading(self, path: str) -> tuple[Any, list[Any]]:
        size = self._picture.shape[:2]
        loader = self._steps[self._loaded - 1]
        floats = getattr(loader, 'to_float32', False)
        picture = self._picture.astype(np.float32 if floats else np.uint8)
        steps: list[Any] = list(self._steps)
        # In place of reading it, so that every other step stays at its place.
        steps[self._loaded - 1] = lambda results: results
        return {'img_path': path, 'img': picture, 'img_shape': size, 'ori_shape': size}, steps


class DataPictures(Pictures):
    """The first pictures of a test data set, with its labels where there are some.

    Args:
        config: Of the model.
        data: As :func:`~mmseg_tapadl.datasets.named_data.read_data` takes it.
        limit: At most so many; ``None``: all.

    Attributes:
        config: That of the model with these test data.

    Raises:
        InputError: There is no such data, it holds no picture, or the config has no ``test_dataloader``.
    """

    def __init__(self, config: Config, data: str | os.PathLike, limit: int | None = None):
        self.config = with_test_data(config, data)
        self._built: dict[Cell, Any] = {}
        self.paths = picture_paths(self._dataset(CLEAN))[:limit]
        if not self.paths:
            raise InputError(f'--data {shown(data)}: holds no pictures')

    def sample(self, index: int, cell: Cell) -> dict[str, Any]:
        """See the base class."""
        return self._dataset(cell)[index]

    def _dataset(self, cell: Cell) -> Any:
        if cell not in self._built:
            self._built[cell] = dataset_for_cell(
                self.config.test_dataloader.dataset, cell, seed=SEED, channel_order=CHANNEL_ORDER
            )
        return self._built[cell]


def _leaves(config: Config) -> list[dict]:
    loaders = [config.get(f'{split}_dataloader') for split in ('test', 'val')]
    return [leaf for loader in loaders if loader for leaf in leaf_datasets(loader['dataset'])]


def _pipeline_of(config: Config) -> list[dict]:
    pipelines = [config.get('test_pipeline'), *(leaf.get('pipeline') for leaf in _leaves(config))]
    found = next((pipeline for pipeline in pipelines if pipeline), None)
    if found is None:
        raise InputError(f'{config.filename}: no test_pipeline, and no test_dataloader with a pipeline')
    return list(found)
