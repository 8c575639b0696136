"""ACDC: driving in fog, at night, in rain and in snow, with the 19 classes of Cityscapes."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from mmseg.datasets import BaseSegDataset, CityscapesDataset
from mmseg.registry import DATASETS

from mmseg_tapadl.utils import InputError

CONDITIONS: tuple[str, ...] = ('fog', 'night', 'rain', 'snow')
SPLITS: tuple[str, ...] = ('train', 'val', 'test')
# Where users keep the pictures and the labels below the root; the first that exists is taken.
IMAGE_FOLDERS: tuple[str, ...] = ('rgb_anon', 'rgb_anon_trainvaltest/rgb_anon', 'rgb_anon_trainvaltest')
LABEL_FOLDERS: tuple[str, ...] = ('gt', 'gt_trainval/gt', 'gt_trainval')


def condition_of(img_path: str | os.PathLike, conditions: Sequence[str] = CONDITIONS) -> str | None:
    """The condition whose folder is in a picture's path (the last one, should there be several), or None."""
    folders = reversed(PurePath(img_path).parts[:-1])
    return next((folder for folder in folders if folder in conditions), None)


@DATASETS.register_module()
class ACDCDataset(BaseSegDataset):
    """One split of ACDC, in all conditions or in some.

    ``{rgb_anon,gt}/{fog,night,rain,snow}/{train,val,test}/<sequence>/<sequence>_frame_<number>_{rgb_anon,
    gt_labelTrainIds}.png``. Both ``rgb_anon/`` beside ``gt/`` and the unpacked archives
    (``rgb_anon_trainvaltest/rgb_anon`` and ``gt_trainval/gt``) are found. The folders ``*_ref`` hold the
    normal-condition references of the pictures; they are never read. The test split has no labels.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``.
        condition: One condition, several, or None for all four.
        data_root: The folder of ACDC.
        data_prefix: ``img_path`` and ``seg_map_path``: the folders that hold the condition folders, below the
            root; left out, they are looked for.
        img_suffix: End of a picture's name.
        seg_map_suffix: End of a label's name.
        **kwargs: What :class:`mmseg.datasets.BaseSegDataset` takes (``pipeline``, ``ann_file``, ``indices``,
            ``test_mode``, ...). The lines of an ``ann_file`` are like ``fog/val/GOPR0476/GOPR0476_frame_000854``.

    Raises:
        InputError: For an unknown split or condition, labels asked of the split that has none, and folders,
            pictures or labels that are missing; the message says which.
    """

    METAINFO = CityscapesDataset.METAINFO

    def __init__(
        self,
        split: str = 'val',
        condition: str | Sequence[str] | None = None,
        data_root: str | None = None,
        data_prefix: dict | None = None,
        img_suffix: str = '_rgb_anon.png',
        seg_map_suffix: str = '_gt_labelTrainIds.png',
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise InputError(f'ACDC has no split {split!r}; the valid ones are {", ".join(SPLITS)}')
        chosen = (
            CONDITIONS
            if condition is None
            else (condition,)
            if isinstance(condition, str)
            else tuple(condition)
        )
        for name in chosen:
            if name not in CONDITIONS:
                raise InputError(
                    f'ACDC has no condition {name!r}; the valid ones are {", ".join(CONDITIONS)}'
                )
        if not chosen or len(set(chosen)) != len(chosen):
            raise InputError(f'condition must name each condition once, got {chosen}')
        self.split = split
        # Always in one order, so that the pictures are, too.
        self.conditions = tuple(name for name in CONDITIONS if name in chosen)
        prefix = dict(data_prefix or {})
        prefix.setdefault('img_path', self._find(data_root, IMAGE_FOLDERS))
        prefix.setdefault('seg_map_path', self._find(data_root, LABEL_FOLDERS))
        super().__init__(
            data_root=data_root,
            data_prefix=prefix,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )

    @staticmethod
    def _find(data_root: str | None, folders: Sequence[str]) -> str:
        root = Path(data_root or '.')
        for folder in folders:
            if any((root / folder / condition).is_dir() for condition in CONDITIONS):
                return folder
        # Named in the error when the pictures are looked for.
        return folders[0]

    def load_data_list(self) -> list[dict]:
        """One entry a picture: ``img_path``, ``condition`` and, where it has a label, ``seg_map_path``."""
        entries = self.list_pictures()
        self._settle_labels(entries)
        return entries

    def list_pictures(self) -> list[dict]:
        """As :meth:`load_data_list`, whether or not the labels are there."""
        if self.ann_file:
            return [entry for entry in super().load_data_list() if '_ref' not in entry['img_path']]
        images, labels = (Path(self.data_prefix[key]) for key in ('img_path', 'seg_map_path'))
        self._check_folders(images)
        entries = []
        for condition in self.conditions:
            folder = images / condition / self.split
            names = sorted(
                str(path.relative_to(images))
                for path in folder.glob(f'*/*{self.img_suffix}')
                # Hidden files, such as the ._* of macOS archives, are no pictures.
                if not path.name.startswith('.') and not path.parent.name.endswith('_ref')
            )
            if not names:
                raise InputError(f'{folder} holds no picture <sequence>/*{self.img_suffix}')
            for name in names:
                label = labels / (name.removesuffix(self.img_suffix) + self.seg_map_suffix)
                entries.append(
                    {
                        'img_path': str(images / name),
                        'seg_map_path': str(label),
                        'condition': condition,
                        'label_map': self.label_map,
                        'reduce_zero_label': self.reduce_zero_label,
                        'seg_fields': [],
                    }
                )
        return entries

    def _check_folders(self, images: Path) -> None:
        """Says at once all that is missing, with what lies there instead."""
        if not images.is_dir():
            raise InputError(
                f'no ACDC pictures at {images}: below data_root={self.data_root!r} one of '
                f'{", ".join(IMAGE_FOLDERS[:2])} must hold the folders {", ".join(CONDITIONS)}'
            )
        missing = [name for name in self.conditions if not (images / name / self.split).is_dir()]
        if not missing:
            return
        present = [name for name in CONDITIONS if (images / name / self.split).is_dir()]
        reasons = [f'{images / name / self.split} is missing{_instead(images / name)}' for name in missing]
        hint = f'; to use only what is there, set condition={present!r}' if present else ''
        raise InputError('; '.join(reasons) + hint)

    def _settle_labels(self, entries: list[dict]) -> None:
        """Keeps the label paths that exist for every picture, or drops them all where the split has none."""
        missing = [entry['seg_map_path'] for entry in entries if not os.path.isfile(entry['seg_map_path'])]
        if not missing:
            return
        if self.split != 'test':
            raise InputError(
                f'{len(missing)} of {len(entries)} labels of ACDC {self.split} are missing, the first is {missing[0]}'
            )
        wants_labels = [t for t in self.pipeline.transforms if type(t).__name__.endswith('LoadAnnotations')]
        if wants_labels:
            raise InputError(
                'the labels of ACDC test are withheld, so it cannot be trained on or evaluated here: use '
                "split='val', or leave LoadAnnotations out of the pipeline and write a submission"
            )
        for entry in entries:
            del entry['seg_map_path']


def _instead(folder: Path) -> str:
    """``' (there is only val_ref, ...)'``, or nothing."""
    if not folder.is_dir():
        return ''
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    note = (
        ', whose pictures are normal-condition references and never evaluated'
        if any('_ref' in n for n in found)
        else ''
    )
    return f' (there is only {", ".join(found)}{note})' if found else ' (the folder is empty)'
