"""One segmentor of mmseg, ready to label pictures."""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmseg.structures import SegDataSample

from mmseg_tapadl.agreement import check_agreement
from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers
from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.checkpoints.loaded_model import build_loaded_model
from mmseg_tapadl.engine.building import building
from mmseg_tapadl.evaluation.result_files import label_map
from mmseg_tapadl.evaluation.seen_pictures import loading_position, loads_labels, picture_as_seen
from mmseg_tapadl.inference.interface import PicturePredictor, Prediction
from mmseg_tapadl.inference.label_files import write_labels
from mmseg_tapadl.inference.names_and_colours import names_and_colours
from mmseg_tapadl.inference.temperature import Temperature, weights_digest
from mmseg_tapadl.utils import InputError, sha256_of, shown
from mmseg_tapadl.utils.dataset_tree import datasets_of_loaders


class Predictor(PicturePredictor):
    """Builds a segmentor once and labels pictures with it, loaded and brought to size as the config tests.

    Args:
        cfg: A config of mmseg, as :func:`mmseg_tapadl.engine.config.load_config` reads it.
        checkpoint: Its weights; every parameter of the model must be among them.
        device: ``'cpu'``, ``'cuda:0'``, ...; ``None`` takes a GPU where there is one.

    Attributes:
        classes: Names of the classes, by id.
        palette: RGB of each class, 0 to 255, by id.

    Raises:
        InputError: The checkpoint is unreadable, holds a program, or does not fit the model, or the config has no
            pipeline to test with.
    """

    @plain_readers()
    def __init__(self, cfg: Config, checkpoint: str | Path, *, device: str | None = None):
        import mmseg_tapadl.register  # noqa: F401  what the config names

        self.name = Path(cfg.filename or 'model').stem
        self._digests = {
            'config': hashlib.sha256(cfg.pretty_text.encode()).hexdigest(),
            'checkpoint': sha256_of(checkpoint) if Path(checkpoint).is_file() else str(checkpoint),
        }
        self.model, meta = build_segmentor(cfg, checkpoint, device=device)
        check_agreement(cfg, (), weights=str(checkpoint), trained=dataset_meta_of(meta).get('classes'))
        transforms = Compose(_test_pipeline(cfg)).transforms
        transforms = [step for step in transforms if not loads_labels(step)]
        loading = loading_position(transforms)
        if loading is None:
            names = ', '.join(type(step).__name__ for step in transforms)
            raise InputError(f'the test pipeline of the config ({names}) loads no picture from a file')
        self._load = Compose(transforms[: loading + 1])
        self._transforms = transforms[loading + 1 :]
        tested = datasets_of_loaders(cfg, ('test', 'val'))
        self._suffixes = [leaf['img_suffix'] for leaf in tested if leaf.get('img_suffix')]
        named = names_and_colours(meta, cfg, self.model.num_classes)
        self.classes: tuple[str, ...] = named.classes  # type: ignore[assignment]
        self.palette: list[list[int]] = named.palette  # type: ignore[assignment]

    def labels(self, picture: np.ndarray) -> np.ndarray:
        """Labels a BGR picture (H, W, 3), uint8; returns class ids (H, W), uint8 (uint16 beyond 256 classes)."""
        return label_map(self._predict(_loaded(picture)).labels[None])

    def predict(self, pictures: Sequence[np.ndarray]) -> list[Prediction]:
        """Labels RGB pictures (H, W, 3), uint8, as :mod:`mmseg_tapadl.inference.interface` says."""
        return [self._predict(_loaded(picture[:, :, ::-1].copy())) for picture in pictures]

    def identity(self) -> dict[str, Any]:
        """The digests of the config and of the checkpoint."""
        return {'kind': 'mmseg', **self._digests}

    @torch.no_grad()
    def _predict(self, loaded: dict) -> Prediction:
        sample = Compose(self._transforms)(loaded)
        return prediction_of_sample(self.model.test_step(pseudo_collate([sample]))[0])

    def label_file(self, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
        """Labels a picture from a file.

        Returns:
            The class ids (H, W), and the picture as the model saw it, BGR (H, W, 3), uint8.

        Raises:
            InputError: The file is no picture that the config's pipeline can load.
        """
        prediction, seen = self._predict_file(path)
        return label_map(prediction.labels[None]), seen

    def _predict_file(self, path: str | Path) -> tuple[Prediction, np.ndarray]:
        try:
            loaded = self._load({'img_path': str(path)})
            seen = picture_as_seen(self._transforms, dict(loaded))
        except Exception as error:  # decoders raise many kinds
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise InputError(f'{shown(path)}: not a readable picture ({shown(reason)})') from error
        return self._predict(loaded), seen

    def predict_files(
        self,
        source: str | Path | Sequence[str | Path],
        out: str | Path,
        *,
        write: Collection[str] = ('labels', 'overlays'),
        confidence: bool = False,
        temperature: Temperature | None = None,
    ) -> Iterator[tuple[Path, np.ndarray]]:
        """Labels pictures or every picture below folders: :func:`mmseg_tapadl.inference.label_files.write_labels`."""
        if temperature is not None:
            temperature.check_weights(weights_digest(self.identity()))
        return write_labels(
            self._predict_file,
            source,
            out,
            classes=self.classes,
            palette=self.palette,
            suffixes=self._suffixes,
            write=write,
            confidence=confidence,
            temperature=temperature,
        )


def build_segmentor(
    cfg: Config, checkpoint: str | os.PathLike, *, device: str | None = None
) -> tuple[torch.nn.Module, dict]:
    """:func:`~mmseg_tapadl.checkpoints.loaded_model.build_loaded_model`, with what a config cannot build as its fault.

    Raises:
        InputError: The config has no model, or one that cannot be built, or the checkpoint does not fit it.
    """
    if not cfg.get('model'):
        raise InputError(f'{cfg.filename}: has no model')
    with building(cfg, 'model'):
        return build_loaded_model(cfg, checkpoint, device=device)


def _loaded(picture: np.ndarray) -> dict:
    """A BGR picture as the pipeline has it after loading."""
    size = picture.shape[:2]
    return {'img': picture, 'img_path': None, 'img_shape': size, 'ori_shape': size}


def prediction_of_sample(sample: SegDataSample) -> Prediction:
    """The prediction in a sample that mmseg has labelled, its logits averaged over windows before any softmax.

    A binary head has one channel, in which mmseg stores the probability of class 1.
    """
    labels = sample.pred_sem_seg.data[0]
    logits = sample.seg_logits.data if 'seg_logits' in sample else None
    if logits is not None and logits.shape[0] == 1:
        return Prediction(labels, probabilities=torch.cat([1 - logits, logits]).float())
    return Prediction(labels, logits=logits)


def _test_pipeline(cfg: Config) -> list[dict]:
    """The pipeline that the config tests with, of the first data set that has one."""
    tested = datasets_of_loaders(cfg, ('test', 'val'))
    pipelines = [*(leaf.get('pipeline') for leaf in tested), cfg.get('test_pipeline')]
    found = next((pipeline for pipeline in pipelines if pipeline), None)
    if found is None:
        raise InputError(f'{cfg.filename}: no test_dataloader with a pipeline, and no test_pipeline')
    return list(found)
