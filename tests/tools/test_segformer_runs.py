"""SegFormer-B0 with TAP and ADL through the command line: trained and tested, on real and on painted pictures."""

import json
import shutil

import pytest

from mmseg_tapadl.checkpoints.checkpoint_io import read_checkpoint
from mmseg_tapadl.datasets.camvid import convert_camvid

SHORT = [
    'train_cfg.max_iters=3',
    'train_cfg.val_interval=3',
    'default_hooks.checkpoint.interval=3',
    'default_hooks.logger.interval=1',
    *(f'{name}_dataloader.num_workers=0' for name in ('train', 'val', 'test')),
    *(f'{name}_dataloader.persistent_workers=False' for name in ('train', 'val', 'test')),
]


@pytest.fixture
def street(tmp_path, camvid_source):
    """Three training pictures and one validation picture of CamVid, in Cityscapes layout."""
    for split, count in (('train', 3), ('val', 1)):
        for folder in (split, f'{split}annot'):
            (tmp_path / 'source' / folder).mkdir(parents=True)
            for path in sorted((camvid_source / folder).glob('*.png'))[:count]:
                shutil.copy(path, tmp_path / 'source' / folder)
    convert_camvid(tmp_path / 'source', tmp_path / 'data')
    return tmp_path / 'data'


@pytest.mark.parametrize('data', ['camvid', 'demo'])
def test_train_with_tap_and_adl(run_tool, tmp_path, street, data):
    roots = [f'{name}_dataloader.dataset.data_root={street}' for name in ('train', 'val', 'test')]
    work = tmp_path / 'work'
    config = f'configs/segformer_tapadl_{data}.py'
    run_tool('train.py', config, '--work-dir', work, '--cfg-options', *roots, *SHORT)
    lines = [
        json.loads(line) for path in work.rglob('scalars.json') for line in path.read_text().splitlines()
    ]
    losses = [line for line in lines if 'loss' in line]
    assert len(losses) == 3
    assert all(0 <= line['loss_adl'] <= 1 and line['decode.loss_ce'] > 0 for line in losses)
    assert sum('mIoU' in line for line in lines) == 1
    names = read_checkpoint(work / 'iter_3.pth')['state_dict']
    assert 'backbone.layers.0.1.0.dilation_predictor.proj.0.weight' in names
    assert 'backbone.layers.0.1.0.attn.attn.in_proj_weight' in names
