"""Pictures and masks anywhere, as a ``data.yaml`` describes them (docs/own_data.md)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmcv.transforms import LoadAnnotations
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_tapadl.datasets.data_yaml.coding import coding_of
from mmseg_tapadl.datasets.data_yaml.pictures import ANY_PICTURE, Pair, Source
from mmseg_tapadl.datasets.transforms.mapped_annotations import MappedLoadAnnotations
from mmseg_tapadl.utils import InputError, shown
from mmseg_tapadl.utils.arguments import lists_valid_arguments


@DATASETS.register_module()
@lists_valid_arguments
class PictureMaskDataset(BaseSegDataset):
    """Pictures of folders or lists, their masks by a template, their classes by ids or colours.

    Its pipeline loads masks with ``MappedLoadAnnotations``.

    Args:
        sources: Each a dict of ``images``, a folder below ``data_root``; ``masks``, a template of the masks' paths (see
            :mod:`mmseg_tapadl.datasets.data_yaml.templates`); and, where a list names the pictures, ``list_file`` and
            ``lines_from``, the folder that its lines are relative to.
        labels: ``ids`` or ``colors``, a list of values for each class, and ``ignore``, values that do not count.
        split: In place of ``{split}`` in templates.
        pictures: What names of pictures look like.
        described_in: The ``data.yaml`` and the lines of its keys, for messages.
        data_root: What all paths are relative to.
        metainfo: ``classes`` and perhaps ``palette``.
        **kwargs: What :class:`mmseg.datasets.BaseSegDataset` takes (``pipeline``, ``indices``, ``test_mode``, ...).

    Raises:
        InputError: A pipeline that loads masks in another way, classes that are not as many as those of ``labels``, a
            folder or list that is not there.
    """

    def __init__(
        self,
        *,
        sources: Sequence[Mapping[str, Any]],
        labels: Mapping[str, Any],
        split: str = '',
        pictures: str = ANY_PICTURE,
        described_in: Mapping[str, Any] | None = None,
        data_root: str = '.',
        metainfo: dict | None = None,
        **kwargs: Any,
    ) -> None:
        self.label_coding = coding_of(labels)
        self.sources = [Source(data_root, split=split, pictures=pictures, **source) for source in sources]
        self.described_in = dict(described_in or {})
        names = (metainfo or {}).get('classes') or ()
        if len(names) != self.label_coding.num_classes:
            raise InputError(
                f'PictureMaskDataset: {len(names)} names of classes, but values of {self.label_coding.num_classes}'
            )
        super().__init__(data_root=data_root, metainfo=metainfo, **kwargs)
        if any(_loads_otherwise(step) for step in self.pipeline.transforms):
            raise InputError(
                'PictureMaskDataset: the pipeline loads masks with LoadAnnotations, which does not know what their values '
                "stand for; write dict(type='MappedLoadAnnotations') in its place"
            )

    def load_data_list(self) -> list[dict]:
        """One entry a picture: ``img_path`` and ``seg_map_path``, which need not be there."""
        return [
            {
                'img_path': pair.picture.path,
                **({} if pair.mask is None else {'seg_map_path': pair.mask}),
                'label_map': self.label_map,
                'reduce_zero_label': self.reduce_zero_label,
                'seg_fields': [],
            }
            for pair in self.pairs()
        ]

    def pairs(self) -> Iterator[Pair]:
        """Every picture with its mask.

        Raises:
            InputError: A folder or list is not there, or a line of it names no picture.
        """
        for source in self.sources:
            try:
                yield from source.pairs()
            except OSError as error:
                raise InputError(f'{shown(error.filename)}: {error.strerror}{self.told("train")}') from error
            if source.problems:
                line, text = source.problems[0]
                raise InputError(f'{shown(str(source.list_file))}:{line}: {text}')

    def get_data_info(self, idx: int) -> dict:
        """The entry of a picture, with the coding of its mask."""
        return {**super().get_data_info(idx), 'label_coding': self.label_coding}

    def told(self, key: str) -> str:
        """`` (masks: data.yaml:4)``, where a key of the description stands; nothing for a set without one."""
        if key not in self.described_in:
            return ''
        return f' ({key}: {shown(self.described_in["file"])}:{self.described_in[key]})'


def _loads_otherwise(step: Any) -> bool:
    if isinstance(step, LoadAnnotations):
        return not isinstance(step, MappedLoadAnnotations)
    # Of transforms that hold others, and of test time augmentation.
    inner = getattr(step, 'transforms', None) or getattr(step, 'subroutines', None) or ()
    return any(map(_loads_otherwise, inner)) if isinstance(inner, (list, tuple)) else False
