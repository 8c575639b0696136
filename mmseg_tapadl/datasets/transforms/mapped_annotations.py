"""Loading masks whose ids or colours stand for classes as a file of data says."""

import mmengine.fileio as fileio
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from mmseg_tapadl.datasets.data_yaml.coding import LabelCoding


@TRANSFORMS.register_module()
class MappedLoadAnnotations(LoadAnnotations):
    """``LoadAnnotations`` for :class:`~mmseg_tapadl.datasets.picture_mask_dataset.PictureMaskDataset`.

    Ids or colours become classes by the data set's own table. A value in no list is an error, never void.

    Args:
        backend_args: As in ``LoadAnnotations``.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        super().__init__(backend_args=backend_args)

    def _load_seg_map(self, results: dict) -> None:
        """Adds ``gt_seg_map``, (H, W), uint8: classes, and 255 where a pixel does not count.

        Raises:
            InputError: A mask of another kind, or values in no list.
        """
        coding: LabelCoding = results['label_coding']
        data = fileio.get(results['seg_map_path'], backend_args=self.backend_args)
        results['gt_seg_map'] = coding.classes_of(coding.stored(data))
        results['seg_fields'].append('gt_seg_map')

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend_args={self.backend_args})'
