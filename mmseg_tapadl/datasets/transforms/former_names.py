"""Names of transforms that configs written for version 0.1 use; what they checked, every run checks now.

See :class:`mmseg_tapadl.engine.repeatable.sample_pipeline.SamplePipeline`.
"""

from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

TRANSFORMS.register_module(name='CheckedLoadImageFromFile', module=LoadImageFromFile)


@TRANSFORMS.register_module()
class CheckedLoadAnnotations(LoadAnnotations):
    """``LoadAnnotations``; the classes and the id of void are the data set's.

    Args:
        num_classes: Taken and not used.
        ignore_index: Taken and not used.
        **kwargs: Those of :class:`mmseg.datasets.transforms.LoadAnnotations`.
    """

    def __init__(
        self, num_classes: int | None = None, ignore_index: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
