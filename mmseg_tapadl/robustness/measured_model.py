"""What a sweep measures: a config with a checkpoint, or any predictor, with the pictures it is to see."""

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.runner.amp import autocast
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_tapadl.agreement import check_agreement, void_source
from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain
from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.engine.equal_sizes import parts_of_one_size
from mmseg_tapadl.inference.checked import PredictionError, checked_predictions
from mmseg_tapadl.inference.class_map import ClassMap, map_classes
from mmseg_tapadl.inference.interface import PicturePredictor, Prediction
from mmseg_tapadl.inference.predictor import prediction_of_sample
from mmseg_tapadl.inference.temperature import weights_digest
from mmseg_tapadl.robustness.cell_data import pictures_only
from mmseg_tapadl.robustness.sweep_model import build_model
from mmseg_tapadl.utils import InputError, sha256_of
from mmseg_tapadl.utils.config_values import digest_of, without_neutral

# One picture of a batch: its place, what the data set says of it (``gt_sem_seg``, ``img_path``, ...) together with
# ``pred_sem_seg`` (1, H, W), and the whole prediction.
Answer = tuple[int, SegDataSample, Prediction]


class MeasuredModel(ABC):
    """A model and the test data as it takes them.

    Attributes:
        config: Holds the ``test_dataloader``, with the pipeline that the model wants, and perhaps ``test_evaluator``.
        name: Of the model, for the report.
        void_source: What says which label value does not count, for messages.
    """

    config: Config
    name: str
    void_source: str = 'the data set'

    @abstractmethod
    def check(self) -> None:
        """Looks at all that can be looked at before anything is built.

        Raises:
            InputError: With what cannot be measured.
        """

    @abstractmethod
    def check_classes(self, classes: list[str]) -> list[str]:
        """Takes the names of the data set's classes, once they are known; returns what there is to tell of them.

        Raises:
            InputError: The model has others.
        """

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the predictions depend on, beside the pictures."""

    @abstractmethod
    def weights(self) -> str | None:
        """A digest of what was learnt alone, whatever it is measured on; None where that is not known."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the results tell of the model: ``config`` and ``checkpoint``, or ``model``."""

    @abstractmethod
    def prepare(self) -> None:
        """Builds what has to be built, once."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where sums of several processes may be put together."""

    @abstractmethod
    def answers(self, batch: dict) -> Iterator[Answer]:
        """Predicts a batch of the loader."""


class MeasuredConfig(MeasuredModel):
    """Any mmseg 1.x config and its checkpoint: the config's own pipeline and ``test_step``.

    Args:
        config: The config.
        checkpoint: Path of the weights.
    """

    def __init__(self, config: Config, checkpoint: str) -> None:
        self.config = config
        self.checkpoint = checkpoint
        self.name = Path(config.filename or 'model').stem
        self._model: torch.nn.Module | None = None

    def check(self) -> None:
        """See the base class."""
        config = self.config
        if not config.get('test_dataloader'):
            raise InputError(f'{config.filename} has no test_dataloader, so there is nothing to measure on')
        if not os.path.isfile(self.checkpoint):
            if '://' in str(self.checkpoint):
                raise InputError(
                    f'the checkpoint {self.checkpoint} is an address and the sweep takes a file: download it and name it by its path'
                )
            raise InputError(f'the checkpoint {self.checkpoint} does not exist')
        meta = load_plain(self.checkpoint).get('meta')
        self.void_source = void_source(config, ('test',))
        for note in check_agreement(
            config, ('test',), weights=self.checkpoint, trained=dataset_meta_of(meta).get('classes')
        ):
            print_log(note, logger='current')

    def check_classes(self, classes: list[str]) -> list[str]:
        """Nothing to do: they were compared with the rest of the config."""
        return []

    def identity(self) -> dict[str, Any]:
        """See the base class."""
        return {
            'config': digest_of(without_neutral(self.config.to_dict())),
            'checkpoint': self.weights(),
        }

    def weights(self) -> str:
        """See the base class."""
        return sha256_of(self.checkpoint)

    def facts(self) -> dict[str, Any]:
        """See the base class."""
        return {'config': self.config.filename, 'checkpoint': os.path.abspath(self.checkpoint)}

    def prepare(self) -> None:
        """See the base class."""
        if self._model is None:
            self._model = build_model(self.config, self.checkpoint)

    @property
    def device(self) -> torch.device:
        """See the base class."""
        assert self._model is not None
        return next(self._model.parameters()).device

    def answers(self, batch: dict) -> Iterator[Answer]:
        """See the base class."""
        self.prepare()
        assert self._model is not None
        half_precision = bool((self.config.get('test_cfg') or {}).get('fp16', False))
        for places, part in parts_of_one_size(batch):
            with autocast(enabled=half_precision):
                samples = self._model.test_step(part)
            for place, sample in zip(places, samples, strict=True):
                yield place, sample, prediction_of_sample(sample)


class MeasuredPredictor(MeasuredModel):
    """A predictor on test data: it sees the pictures as they are loaded, corrupted, in their own size.

    Args:
        predictor: The model.
        data: From :func:`mmseg_tapadl.datasets.named_data.read_data`.
        name: Of the model, for the report.
        class_map: Name of the model: name of the data set; see :mod:`mmseg_tapadl.inference.class_map`.
    """

    def __init__(
        self,
        predictor: PicturePredictor,
        data: Config,
        *,
        name: str,
        class_map: Mapping[str, str | None] | None = None,
    ) -> None:
        self.predictor = predictor
        self.name = name
        self.config = copy.deepcopy(data)
        self.config.test_dataloader.dataset = pictures_only(self.config.test_dataloader.dataset)
        self._table = class_map
        self._map: ClassMap | None = None
        self._num_classes = 0

    def check(self) -> None:
        """There is nothing to look at: the predictor is built."""

    def check_classes(self, classes: list[str]) -> list[str]:
        """Finds the model's classes in the data set and tells how."""
        self._num_classes = len(classes)
        if self.predictor.classes is None:
            if self._table:
                raise InputError(
                    f'--class-map: {self.name} tells no names of its classes, so its ids must be those of the data set'
                )
            return []
        self._num_classes = len(self.predictor.classes)
        self._map = map_classes(self.predictor.classes, classes, table=self._table, model=self.name)
        if not self._map.renamed:
            return []
        pairs = ', '.join(f'{mine} -> {theirs}' for mine, theirs in self._map.renamed)
        return [f'classes of the model -> of the data set: {pairs}']

    def identity(self) -> dict[str, Any]:
        """See the base class."""
        return {
            'model': self.predictor.identity(),
            'class map': list(self._map.targets) if self._map else None,
            # The pictures count by their names below the root, wherever that lies.
            'data': digest_of(without_neutral(_without_roots(self.config.to_dict()))),
        }

    def weights(self) -> str | None:
        """See the base class."""
        return weights_digest(self.predictor.identity())

    def facts(self) -> dict[str, Any]:
        """See the base class."""
        renamed = dict(self._map.renamed) if self._map else {}
        return {
            'config': None,
            'checkpoint': None,
            'model': {**self.predictor.identity(), **self.predictor.facts(), 'renamed_classes': renamed},
        }

    def prepare(self) -> None:
        """See the base class."""

    @property
    def device(self) -> torch.device:
        """See the base class."""
        return torch.device(get_device())

    def answers(self, batch: dict) -> Iterator[Answer]:
        """See the base class."""
        samples = batch['data_samples']
        names = [sample.metainfo['img_path'] for sample in samples]
        pictures = [_as_rgb(packed, name) for packed, name in zip(batch['inputs'], names, strict=True)]
        predictions = checked_predictions(self.predictor, pictures, names, num_classes=self._num_classes)
        for place, (sample, prediction) in enumerate(zip(samples, predictions, strict=True)):
            if self._map is not None:
                prediction = self._map.apply(prediction)
            sample.pred_sem_seg = PixelData(data=prediction.labels[None])
            yield place, sample, prediction


def _as_rgb(packed: torch.Tensor, name: str) -> np.ndarray:
    """A packed picture, (3, H, W) BGR, as (H, W, 3) uint8 RGB."""
    if packed.ndim != 3 or packed.shape[0] != 3:
        raise PredictionError(f'{name}: {tuple(packed.shape)} is no picture of three channels')
    if packed.dtype != torch.uint8:
        whole = packed.clamp(0, 255).to(torch.uint8)
        if not torch.equal(whole.to(packed.dtype), packed):
            raise PredictionError(f'{name}: loads as {packed.dtype}, not as whole values from 0 to 255')
        packed = whole
    return np.ascontiguousarray(packed.permute(1, 2, 0).numpy()[:, :, ::-1])


def _without_roots(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_roots(item) for key, item in value.items() if key != 'data_root'}
    if isinstance(value, (list, tuple)):
        return [_without_roots(item) for item in value]
    return value
