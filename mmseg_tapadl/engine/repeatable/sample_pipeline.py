"""A data set's pipeline that names the files when it fails and checks the labels."""

from typing import Any

from mmengine.dataset import Compose

from mmseg_tapadl.engine.errors import SampleError


class SamplePipeline(Compose):
    """The same transforms in the same order.

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
            SampleError: With the image's and the label's path, in place of any error of a transform, and for
                labels that are no classes (the loss would fail later without a name).
        """
        files = f'image {data.get("img_path", "unknown")}, label {data.get("seg_map_path", "none")}'
        try:
            sample = super().__call__(data)
        except Exception as error:
            reason: Any = str(error).strip() or type(error).__name__
            raise SampleError(f'{files}: {type(error).__name__}: {reason}') from error
        self._check_label(sample, files)
        return sample

    def _check_label(self, sample: dict | None, files: str) -> None:
        packed: Any = (sample or {}).get('data_samples')
        if self.num_classes is None or 'gt_sem_seg' not in (packed or ()):
            return
        label = packed.gt_sem_seg.data
        wrong = ((label < 0) | (label >= self.num_classes)) & (label != self.ignore_index)
        if bool(wrong.any()):
            raise SampleError(
                f'{files}: the label holds {sorted(set(label[wrong].tolist()))[:8]}, which are neither classes '
                f'(0 to {self.num_classes - 1}) nor {self.ignore_index} (void)'
            )
