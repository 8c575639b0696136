"""One segmentor, ready to label pictures from files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.registry import DATASETS
from PIL import Image
from tqdm import tqdm

from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers
from mmseg_tapadl.checkpoints.weights import load_all_weights
from mmseg_tapadl.evaluation.overlay import overlay_labels
from mmseg_tapadl.utils import InputError, atomic_write

PICTURE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')


class Predictor:
    """Builds a segmentor once and labels pictures with it.

    Args:
        cfg: A config of mmseg, as :func:`mmseg_tapadl.engine.config.load_config` reads it.
        checkpoint: Its weights; every parameter of the model must be among them.
        device: ``'cpu'``, ``'cuda:0'``, ...; ``None`` takes a GPU where there is one.

    Raises:
        ValueError: The checkpoint is unreadable, holds a program, or does not fit the model.
    """

    @plain_readers()
    def __init__(self, cfg: Config, checkpoint: str | Path, *, device: str | None = None):
        import mmseg_tapadl.register  # noqa: F401  what the config names

        device = device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
        self.model = init_model(cfg, device=device)
        trained = load_all_weights(self.model, checkpoint)
        # A file without class names, of older tools, gets those of the data set that the config tests on.
        meta = trained.get('dataset_meta') or DATASETS.get(cfg.test_dataloader.dataset.type).METAINFO
        self.model.dataset_meta = meta
        self.classes: tuple[str, ...] = tuple(meta['classes'])
        self.palette: list[Any] = list(meta['palette'])

    def labels(self, picture: np.ndarray) -> np.ndarray:
        """Labels a BGR picture (H, W, 3), uint8; returns class ids (H, W), uint8."""
        result = inference_model(self.model, picture)
        return result.pred_sem_seg.data[0].to('cpu', torch.uint8).numpy()

    def predict_files(self, source: str | Path, out: str | Path) -> Iterator[tuple[Path, np.ndarray]]:
        """Labels a picture or every picture below a folder and writes both results of each.

        ``out/labels/<name>.png`` is the label map (8 bit, one channel, class ids), and
        ``out/overlays/<name>.png`` the picture under its classes' colours, with a legend; subfolders are kept.

        Yields:
            The path and the label map (H, W) of each picture, after its files are on disk.

        Raises:
            InputError: ``source`` does not exist, holds no picture, or a picture cannot be read: with its name.
        """
        root, pictures = find_pictures(source)
        for path in tqdm(pictures, desc='predict', unit='picture', disable=len(pictures) == 1):
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise InputError(f'{path}: not a readable picture')
            labels = self.labels(picture)
            name = path.relative_to(root).with_suffix('.png')
            overlay = overlay_labels(picture, labels, classes=self.classes, palette=self.palette)
            for folder, pixels in (('labels', labels), ('overlays', overlay[:, :, ::-1])):
                with atomic_write(Path(out) / folder / name) as file:
                    Image.fromarray(pixels).save(file, format='PNG')
            yield path, labels


def find_pictures(source: str | Path) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the pictures: one file, or all below a folder, sorted."""
    source = Path(source)
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise InputError(f'{source}: no such picture or folder')
    pictures = sorted(p for p in source.rglob('*') if p.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise InputError(f'{source}: no picture in this folder ({", ".join(PICTURE_SUFFIXES)})')
    return source, pictures
