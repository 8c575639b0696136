"""Cells on disk: whole or absent, also when the disk is full."""

import json
import resource

import pytest

from mmseg_tapadl.evaluation.robustness_presets import Cell
from mmseg_tapadl.robustness.cell_store import CellStore
from mmseg_tapadl.utils.config_values import digest_of, without_neutral

CELL = Cell('fog', 3)


def test_a_write_that_does_not_fit_leaves_nothing_that_counts(tmp_path):
    store = CellStore(tmp_path, {'config': 'a'})
    store.open()
    store.save(CELL, {'mIoU': 1.0})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses to let a file grow, as it does when the disk is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        for cell in (CELL, Cell('fog', 4)):
            with pytest.raises(OSError):
                store.save(cell, {'mIoU': 2.0, 'pixels': 'x' * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.load(CELL) == {'mIoU': 1.0}
    assert store.load(Cell('fog', 4)) is None
    assert [path.name for path in (tmp_path / 'cells').iterdir()] == ['fog_3.json']


def test_full_precision_survives(tmp_path):
    store = CellStore(tmp_path, {'config': 'a'})
    store.save(CELL, {'mIoU': 100 / 3, 'IoU': {'road': None, 'sky': 0.1 + 0.2}})
    assert store.load(CELL) == {'mIoU': 100 / 3, 'IoU': {'road': None, 'sky': 0.1 + 0.2}}


def test_digest_knows_content_not_order():
    assert digest_of({'a': 1, 'b': [1, 2]}) == digest_of({'b': [1, 2], 'a': 1})
    assert digest_of({'a': 1}) != digest_of({'a': 1.5})
    assert digest_of([1, 2]) != digest_of([2, 1])


def test_digests_are_those_that_sweeps_of_before_were_saved_under(repo_root):
    former = repo_root / 'tests/data/old_formats/robustness_1'
    identity = json.loads((former / 'sweep.json').read_text())
    assert digest_of(identity) == json.loads((former / 'robustness.json').read_text())['sweep']
    loading = dict(type='LoadImageFromFile', prefetch_factor=2)
    config = dict(
        model=dict(type='EncoderDecoder', test_cfg=dict(mode='slide', crop_size=(32, 32)), pretrained=None),
        test_dataloader=dict(batch_size=2, dataset=dict(data_root='ä', pipeline=[loading]), num_workers=4),
        data=dict(pin_memory=False, path=int),
        lr=6e-05,
        **dict(load_from='x', resume=True, launcher='none', work_dir='a'),
    )
    expected = '84509e38d6bf3bad2e52d4e900dfd4f17a898e0b454ee3ddfe8f605f197bbee6'
    assert digest_of(without_neutral(config)) == expected
