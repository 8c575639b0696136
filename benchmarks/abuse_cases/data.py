"""Faults in a data set, each planted in the training and the validation split."""

import tempfile
import warnings
from pathlib import Path

from tests.datasets.faults import CATALOGUE, make_root, pair_paths

_COUNT = 3


def run(ours: bool, quick: bool) -> dict:
    """Returns ``planted``, ``before`` (found before the first iteration, with the path), and what happens in use.

    ``named``: an error with the path once the sample is drawn; ``unnamed``: an error without it; ``silent``:
    nothing at all. Only the first of these that applies is counted.
    """
    warnings.filterwarnings('ignore')
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    result = {'kinds': len(CATALOGUE), 'planted': 0, 'before': 0, 'named': 0, 'unnamed': 0, 'silent': 0}
    missed = []
    for fault in CATALOGUE:
        for split in ('train', 'val'):
            with tempfile.TemporaryDirectory() as name:
                root = Path(name)
                make_root(root, count=_COUNT)
                path = fault.plant(*pair_paths(root, split, 1))
                outcome = _outcome(root, split, path, ours)
            result['planted'] += 1
            result[outcome] += 1
            if outcome != 'before':
                missed.append(f'{fault.name} ({split}): {outcome}')
    return {**result, 'missed': missed if ours else []}


def _outcome(root: Path, split: str, path: Path, ours: bool) -> str:
    from mmengine.config import Config
    from mmseg.registry import DATASETS

    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    dataset = dict(
        type='CityscapesDataset',
        data_root=str(root),
        data_prefix=dict(img_path=f'leftImg8bit/{split}', seg_map_path=f'gtFine/{split}'),
        pipeline=pipeline,
    )
    if ours:
        from mmseg_tapadl.datasets.integrity import DatasetError, check_config

        try:
            check_config(Config({f'{split}_dataloader': dict(dataset=dataset)}), [split], progress=False)
        except DatasetError as error:
            return 'before' if path.name in str(error) else 'unnamed'
        return 'silent'
    try:
        built = DATASETS.build(dataset)
        built.full_init()
    except Exception as error:
        return 'before' if path.name in str(error) else 'unnamed'
    try:
        for index in range(len(built)):
            _use(built[index])
    except Exception as error:
        return 'named' if path.name in str(error) else 'unnamed'
    return 'silent'


def _use(sample: dict) -> None:
    """What a training step does with a sample: a prediction of its size, a loss, which labels must suit."""
    import torch

    label = sample['data_samples'].gt_sem_seg.data.long()
    scores = torch.zeros(1, 19, *sample['inputs'].shape[-2:])
    torch.nn.functional.cross_entropy(scores, label, ignore_index=255)
