"""Data sets for the tests of wrappers; a config names this module in ``custom_imports``."""

from typing import Any

import numpy as np
from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class CategorisedDataset(CityscapesDataset):
    """Tells categories, as ``ClassBalancedDataset`` asks for: the fourth picture alone has a rare one."""

    def get_cat_ids(self, idx: int) -> list[int]:
        """The categories of a picture."""
        return [0, 1] if idx == 3 else [0]


@DATASETS.register_module()
class JitteringWrapper:
    """A wrapper of the person's own: hidden inside it is the data set, and it draws a number of its own."""

    def __init__(self, inside: dict) -> None:
        self._inside = DATASETS.build(inside)
        self.metainfo = self._inside.metainfo

    def __len__(self) -> int:
        return len(self._inside)

    def __getitem__(self, index: int) -> Any:
        sample = self._inside[index]
        sample['inputs'] = sample['inputs'] + int(np.random.randint(0, 9))
        return sample


def wrapped(kind: str, leaf: dict) -> dict:
    """The config of ``leaf`` (a ``CategorisedDataset``) inside wrappers."""
    repeat = dict(type='RepeatDataset', times=2, dataset=leaf)
    balanced = dict(type='ClassBalancedDataset', oversample_thr=0.9, dataset=leaf)
    kinds = {
        'plain': leaf,
        'concat': dict(type='ConcatDataset', datasets=[leaf, dict(leaf, indices=3)]),
        'repeat': repeat,
        'balanced': balanced,
        'nested': dict(
            type='ConcatDataset', datasets=[repeat, dict(type='RepeatDataset', times=1, dataset=balanced)]
        ),
        'mosaic': dict(
            type='MultiImageMixDataset',
            dataset=dict(type='ConcatDataset', datasets=[dict(leaf, pipeline=leaf['pipeline'][:-1])]),
            pipeline=[dict(type='RandomMosaic', prob=1.0, img_scale=(64, 64)), leaf['pipeline'][-1]],
        ),
        'own': dict(type='JitteringWrapper', inside=leaf),
    }
    return kinds[kind]
