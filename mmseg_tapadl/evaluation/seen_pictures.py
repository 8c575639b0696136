"""Pictures as a model sees them: loaded, turned and corrupted by the transforms of its own pipeline.

Legend: H rows, W columns; pictures are uint8 BGR (H, W, 3).
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile, TestTimeAug
from mmseg.datasets.transforms import PackSegInputs

from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.dataset_tree import leaf_datasets


def picture_as_seen(transforms: Sequence[Callable], results: dict) -> np.ndarray:
    """Runs a pipeline on one picture until its geometry changes: what a prediction in the picture's size lies over.

    Args:
        transforms: Of the pipeline; those before the one that loads the picture are passed over.
        results: ``img_path``, as the loading transform takes it, or ``img`` where nothing is to be loaded.

    Returns:
        BGR picture (H, W, 3), uint8; other kinds are shown as well as three channels of 8 bits can.
    """
    seen = results.get('img')
    for transform in transforms[loading_position(transforms) or 0 :]:
        if loads_labels(transform):
            continue
        if isinstance(transform, (TestTimeAug, PackSegInputs)):
            break
        results = transform(results) or {}
        picture = results.get('img')
        if not isinstance(picture, np.ndarray) or results.get('flip'):
            break
        if seen is not None and picture.shape[:2] != seen.shape[:2]:
            break
        seen = picture
    if seen is None:
        raise InputError('the pipeline loads no picture')
    return as_bgr(seen)


def loads_labels(transform: Any) -> bool:
    """Whether a transform reads a label."""
    return isinstance(transform, LoadAnnotations) or 'LoadAnnotations' in type(transform).__name__


def loading_position(transforms: Sequence[Any]) -> int | None:
    """Where in a pipeline the picture is loaded from its file; None where it is not."""
    for position, transform in enumerate(transforms):
        if isinstance(transform, LoadImageFromFile) or 'LoadImage' in type(transform).__name__:
            return position
    return None


def as_bgr(picture: np.ndarray) -> np.ndarray:
    """Any loaded picture, (H, W) or (H, W, channels) of any type, to look at: three channels of 8 bits."""
    if picture.ndim == 2:
        picture = picture[..., None]
    picture = picture[..., :3] if picture.shape[-1] >= 3 else np.repeat(picture[..., :1], 3, axis=-1)
    if picture.dtype != np.uint8:
        largest = float(picture.max(initial=0))
        if largest > 255 or (picture.dtype.kind == 'f' and 0 < largest <= 1):
            picture = picture * (255 / largest)
        picture = np.clip(picture, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(picture)


class SeenPictures:
    """The pictures of a built data set, also of one in wrappers, as the model sees them.

    Attributes:
        paths: Of all pictures, in the data set's order; empty for a data set that does not list them.
        labels: Paths of their labels, as far as there are some.
        seen_twice: A picture that two of the data sets load in two ways; None where there is none.

    Args:
        dataset: An mmengine data set whose samples come out of a ``pipeline``.
    """

    def __init__(self, dataset: Any) -> None:
        self._leaves = [leaf for leaf in leaf_datasets(dataset) if hasattr(leaf, 'pipeline')]
        self._leaf_of: dict[str, Any] = {}
        self.paths: list[str] = []
        self.labels: list[str] = []
        self.seen_twice: str | None = None
        for leaf in self._leaves:
            for index in range(len(leaf)) if hasattr(leaf, 'get_data_info') else ():
                info = leaf.get_data_info(index)
                self.paths.append(info['img_path'])
                first = self._leaf_of.setdefault(os.path.abspath(info['img_path']), leaf)
                if first is not leaf and _text(first.pipeline) != _text(leaf.pipeline):
                    self.seen_twice = info['img_path']
                if info.get('seg_map_path'):
                    self.labels.append(info['seg_map_path'])

    def picture(self, img_path: str) -> np.ndarray:
        """One picture, loaded again.

        Args:
            img_path: As the prediction's ``img_path`` says.
        """
        leaf = self._leaf_of.get(os.path.abspath(img_path), self._leaves[0])
        return picture_as_seen(leaf.pipeline.transforms, {'img_path': img_path})


def _text(pipeline: Any) -> str:
    """A pipeline's description without the addresses of transforms that have none."""
    return re.sub(r' at 0x[0-9a-f]+', '', repr(pipeline))
