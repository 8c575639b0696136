"""A data set's pipeline that says which sample cannot be used, and why; the data check comes before it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.dataset import Compose

from mmseg_tapadl.utils import SampleError, shown


class SamplePipeline(Compose):
    """The same transforms in the same order.

    A label is compared with its picture as soon as it is loaded: later transforms would stretch both alike.

    Args:
        pipeline: The pipeline to replace.
        num_classes: Number of classes; labels of training samples may hold 0 to ``num_classes - 1`` and
            ``ignore_index``. None leaves them unchecked.
        ignore_index: The label of pixels that do not count.
    """

    def __init__(self, pipeline: Compose, *, num_classes: int | None = None, ignore_index: int = 255) -> None:
        self.transforms = pipeline.transforms
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def __call__(self, data: dict) -> dict | None:
        """Runs the transforms on one sample.

        Raises:
            SampleError: With the paths of picture and label, in place of any error of a transform; for a label of
                another size than its picture or of several channels; and for labels that are no classes (the loss
                would fail later without a name).
        """
        sample: Any = data
        files, has_label = files_of(data), False
        for transform in self.transforms:
            try:
                sample = transform(sample)
            except Exception as error:
                # A transform that was given another file has said so in the sample.
                raise SampleError(f'{files_of(sample, files)}: {reason_of(error)}') from error
            if not isinstance(sample, Mapping):
                return sample
            files = files_of(sample, files)
            if not has_label and 'gt_seg_map' in sample:
                has_label = True
                _check_size(sample, files)
        self._check_ids(sample, files)
        return sample

    def _check_ids(self, sample: Mapping[str, Any], files: str) -> None:
        packed: Any = sample.get('data_samples')
        if self.num_classes is None or 'gt_sem_seg' not in (packed or ()):
            return
        label = packed.gt_sem_seg.data
        wrong = ((label < 0) | (label >= self.num_classes)) & (label != self.ignore_index)
        if bool(wrong.any()):
            raise SampleError(
                f'{files}: the label holds {sorted(set(label[wrong].tolist()))[:8]}, which are neither classes '
                f'(0 to {self.num_classes - 1}) nor {self.ignore_index} (void)'
            )


def files_of(data: Mapping[str, Any], default: str = 'image unknown, label none') -> str:
    """The paths of a sample's picture and label, for messages; ``default`` where it tells none."""
    if not data.get('img_path'):
        return default
    label = data.get('seg_map_path')
    return f'image {shown(data["img_path"])}, label {shown(label) if label else "none"}'


def reason_of(error: Exception) -> str:
    """What a library says of a file, in one line."""
    return ': '.join([type(error).__name__, ' '.join(str(error).split())]).removesuffix(': ')


def _check_size(sample: Mapping[str, Any], files: str) -> None:
    """Refuses a label that has neither the size of the picture's file nor that of the picture beside it."""
    label, picture = sample['gt_seg_map'], sample.get('img')
    if not isinstance(label, np.ndarray) or not isinstance(picture, np.ndarray):
        return
    if label.ndim > 2:
        raise SampleError(f'{files}: the label has {label.shape[-1]} channels, not one')
    # Test pipelines resize the picture before they load its label.
    sizes = [tuple(sample.get('ori_shape') or picture.shape)[:2], picture.shape[:2]]
    if label.shape not in sizes:
        stored, found = (('x'.join(map(str, size[::-1]))) for size in (sizes[0], label.shape))
        raise SampleError(f'{files}: the label is {found}, the image {stored}')
