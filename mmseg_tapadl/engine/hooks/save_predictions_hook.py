"""Writes what is predicted in a test: overlays to look at, label maps to compute with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_tapadl.evaluation.overlay import overlay_labels
from mmseg_tapadl.evaluation.result_files import Kind, ResultFiles, check_apart, common_folder, label_map
from mmseg_tapadl.evaluation.seen_pictures import SeenPictures
from mmseg_tapadl.utils import InputError, shown
from mmseg_tapadl.utils.colours import distinct_colours


class SavePredictionsHook(Hook):
    """Saves one PNG for each picture of the test set, named after its path below the folder that all share.

    Args:
        folder: Where to; it is created.
    """

    priority = 'LOW'
    kind: Kind

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._files: ResultFiles | None = None

    def before_test_epoch(self, runner: Any) -> None:
        """Finds out what the files will be called.

        Raises:
            InputError: Naming two pictures that would share a file, a file that would be overwritten, or one that
                another such hook would write, too.
        """
        self._seen = SeenPictures(runner.test_dataloader.dataset)
        if self._seen.seen_twice:
            raise InputError(
                f'{shown(self._seen.seen_twice)} is in two data sets of the test, which load it in two ways: both results '
                'would share a file; test one at a time'
            )
        base = common_folder(self._seen.paths) or Path.cwd()
        self._files = ResultFiles(self.folder, base=base, kind=self.kind)
        self._files.check(self._seen.paths, sources=self._seen.labels)
        for hook in runner.hooks:
            if hook is not self and isinstance(hook, SavePredictionsHook) and hook._files is not None:
                check_apart(hook._files, self._files, self._seen.paths)

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Sequence = ()
    ) -> None:
        """Saves the results of one batch."""
        assert self._files is not None
        for sample in outputs:
            labels = label_map(sample.pred_sem_seg.data)
            self._files.save(sample.img_path, self.drawn(runner, sample, labels))

    def drawn(self, runner: Any, sample: Any, labels: np.ndarray) -> np.ndarray:
        """What is saved of a prediction, (H, W) or RGB (H, W, 3)."""
        raise NotImplementedError


@HOOKS.register_module()
class SaveLabelsHook(SavePredictionsHook):
    """Saves the predicted label maps: class ids in one channel of 8 bits (16 where there are more than 256).

    Args:
        folder: Where to; it is created.
    """

    kind = 'label map'

    def drawn(self, runner: Any, sample: Any, labels: np.ndarray) -> np.ndarray:
        """The label map (H, W)."""
        return labels


@HOOKS.register_module()
class SaveOverlaysHook(SavePredictionsHook):
    """Saves the pictures as the model saw them (turned, corrupted) under their classes' colours.

    Args:
        folder: Where to; it is created.
        opacity: Share of the colours, 0 (only the picture) to 1 (only the classes).
        legend: Whether the names of the classes stand below the picture.
    """

    kind = 'overlay'

    def __init__(self, folder: str, opacity: float = 0.5, legend: bool = False) -> None:
        super().__init__(folder)
        if not isinstance(opacity, (int, float)) or not 0 <= opacity <= 1:
            raise InputError(f'SaveOverlaysHook: opacity must lie in 0 to 1, not {opacity!r}')
        self.opacity = opacity
        self.legend = legend

    def drawn(self, runner: Any, sample: Any, labels: np.ndarray) -> np.ndarray:
        """The overlay, RGB (H, W, 3)."""
        meta = runner.test_dataloader.dataset.metainfo
        classes = list(meta.get('classes') or ())
        overlay = overlay_labels(
            self._seen.picture(sample.img_path),
            labels,
            classes=classes,
            palette=meta.get('palette') or distinct_colours(len(classes)),
            opacity=self.opacity,
            legend=self.legend,
        )
        return overlay[..., ::-1]
