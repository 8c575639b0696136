"""Paints predictions over the pictures of a test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from PIL import Image


@HOOKS.register_module()
class SaveOverlaysHook(Hook):
    """Saves ``<folder>/<picture's name>.png``: the picture blended with the classes' colours.

    Args:
        folder: Where to; it is created.
        opacity: Share of the colours, 0 (only the picture) to 1 (only the classes).
    """

    priority = 'LOW'

    def __init__(self, folder: str, opacity: float = 0.5) -> None:
        if not 0 <= opacity <= 1:
            raise ValueError(f'opacity must lie in 0 to 1, not {opacity}')
        self.folder = Path(folder)
        self.opacity = opacity

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Sequence = ()
    ) -> None:
        """Saves the overlays of one batch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        palette = np.asarray(runner.test_dataloader.dataset.metainfo['palette'], dtype=np.float32)
        for sample in outputs:
            classes = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
            with Image.open(sample.img_path) as file:
                # Predictions have the size of the picture as loaded.
                picture = np.asarray(file.convert('RGB'), dtype=np.float32)
            blended = (1 - self.opacity) * picture + self.opacity * palette[classes]
            Image.fromarray(np.rint(blended).astype(np.uint8)).save(
                self.folder / f'{Path(sample.img_path).stem}.png'
            )
