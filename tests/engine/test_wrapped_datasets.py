"""Wrappers around a data set take nothing away: exact resume, any number of workers, pictures and labels named."""

import itertools
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_tapadl.engine.repeatable.placed_samples import name_samples, place_samples
from mmseg_tapadl.engine.repeatable.positioned_sampler import PositionedSampler
from tests.engine import wrapped_data
from tests.engine.tiny_run import ToolRun, differences, state_of, train_here, write_pictures

KINDS = ['concat', 'repeat', 'balanced', 'nested', 'mosaic', 'own']
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(32, 32)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]


def leaf_config(data: Path) -> dict:
    return dict(
        type='CategorisedDataset',
        data_root=str(data),
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=PIPELINE,
    )


def built(kind: str, data: Path):
    register_all_modules(init_default_scope=False)
    init_default_scope('mmseg')
    return DATASETS.build(wrapped_data.wrapped(kind, leaf_config(data)))


def samples(dataset, count: int, *, skip: int = 0, workers: int = 0, seed: int = 3) -> list:
    """``count`` samples as a data loader of the run would give them, from position ``skip`` on."""
    sampler = PositionedSampler(dataset, seed=seed)
    sampler.skip(skip)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers, collate_fn=list)
    batches = itertools.islice(iter(loader), count // 2)
    return [
        (s['inputs'].numpy(), s['data_samples'].gt_sem_seg.data.numpy()) for batch in batches for s in batch
    ]


@pytest.mark.parametrize('kind', KINDS)
def test_a_sample_is_its_place_in_the_run_whatever_stands_around_the_data_set(kind, tiny):
    dataset = built(kind, tiny / 'data')
    place_samples(dataset, seed=7)
    torch.manual_seed(0)
    np.random.seed(0)
    whole = samples(dataset, 12)
    np.random.seed(99)
    resumed = samples(dataset, 6, skip=6)
    with_workers = samples(dataset, 6, skip=6, workers=2)
    for (image, label), later, apart in zip(whole[6:], resumed, with_workers, strict=True):
        assert np.array_equal(image, later[0]) and np.array_equal(label, later[1])
        assert np.array_equal(image, apart[0]) and np.array_equal(label, apart[1])
    # It is random still: the place and the seed decide.
    other = built(kind, tiny / 'data')
    place_samples(other, seed=8)
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(whole, samples(other, 12), strict=True))


def test_the_plain_data_set_draws_what_it_drew_before_there_were_wrappers(tiny):
    """A run that was saved by an older version goes on with the same augmentation."""
    from mmengine.dataset import Compose

    from mmseg_tapadl.engine.repeatable.positioned_sampler import SamplePosition
    from mmseg_tapadl.engine.repeatable.random_streams import seeded, stream_seed

    dataset, plain = built('plain', tiny / 'data'), built('plain', tiny / 'data')
    place_samples(dataset, seed=7)
    (sample,) = dataset.__getitems__([SamplePosition(4, 99)])
    with seeded(stream_seed(7, 'sample', 99)):
        expected = Compose(PIPELINE)(plain.get_data_info(4))
    assert torch.equal(sample['inputs'], expected['inputs'])


@pytest.mark.parametrize('kind', KINDS)
def test_what_cannot_be_promised_is_said(kind, tiny):
    notes = place_samples(built(kind, tiny / 'data'), seed=0)
    if kind in ('mosaic', 'own'):
        (note,) = notes
        name = {'mosaic': 'MultiImageMixDataset', 'own': 'JitteringWrapper'}[kind]
        assert note.startswith(name) and ('ConcatDataset' in note or 'not checked' in note)
    else:
        assert notes == [] and name_samples(built(kind, tiny / 'data')) == []


@pytest.mark.parametrize('kind', ['concat', 'repeat', 'balanced', 'nested', 'mosaic'])
def test_a_picture_that_cannot_be_read_is_named(kind, tmp_path):
    data = write_pictures(tmp_path / 'data', train=4, val=0)
    bad = data / 'leftImg8bit/train/town/town_000002_000000_leftImg8bit.png'
    bad.write_bytes(bad.read_bytes()[:100])
    dataset = built(kind, data)
    place_samples(dataset, seed=0)
    with pytest.raises(ValueError, match=str(bad)):
        samples(dataset, 2 * len(dataset))


@pytest.mark.parametrize('kind', ['concat', 'repeat', 'balanced', 'nested'])
def test_a_label_that_is_no_class_is_named(kind, tmp_path):
    data = write_pictures(tmp_path / 'data', train=4, val=0)
    label = data / 'gtFine/train/town/town_000001_000000_gtFine_labelTrainIds.png'
    Image.fromarray(np.full((64, 128), 77, np.uint8)).save(label)
    dataset = built(kind, data)
    place_samples(dataset, seed=0)
    with pytest.raises(ValueError, match=r'the label holds \[77\]'):
        samples(dataset, 2 * len(dataset))


def test_a_killed_run_on_nested_wrappers_goes_on_exactly(tiny):
    config = tiny / 'wrapped.py'
    config.write_text(
        f'_base_ = {str(tiny / "tiny.py")!r}\n'
        'from tests.engine.wrapped_data import wrapped\n'
        "custom_imports = dict(imports=['mmseg_tapadl.register', 'tests.engine.wrapped_data'])\n"
        "leaf = dict(type='CategorisedDataset', data_root={{_base_.data.data_root}},\n"
        "    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),\n"
        '    pipeline={{_base_.train_pipeline}})\n'
        "train_dataloader = dict(dataset=dict(_delete_=True, **wrapped('nested', leaf)))\n"
        "val_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[\n"
        '    {{_base_.val_dataloader.dataset}}]))\n'
    )
    workers = ['--cfg-options', 'train_dataloader.num_workers=2']
    whole = train_here(config, tiny / 'wrapped_whole', *workers)
    assert '39 pictures of' in whole.output and 'this toolkit does not know' not in whole.output
    run = ToolRun('train.py', config, '--work-dir', tiny / 'wrapped', '--skip-check', cwd=tiny)
    assert run.send_when(signal.SIGKILL, (tiny / 'wrapped/iter_3.pth').exists) == -signal.SIGKILL
    train_here(config, tiny / 'wrapped', '--resume', *workers)
    assert (
        differences(state_of(tiny / 'wrapped_whole/iter_8.pth'), state_of(tiny / 'wrapped/iter_8.pth')) == []
    )


def test_a_picture_of_a_wrapped_validation_set_is_named(tiny, tmp_path):
    data = write_pictures(tmp_path / 'data', train=2, val=2)
    bad = data / 'leftImg8bit/val/town/town_000001_000000_leftImg8bit.png'
    bad.write_bytes(b'')
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(tiny / "tiny.py")!r}\n'
        f"part = dict(type='CityscapesDataset', data_root={str(data)!r}, pipeline={{{{_base_.test_pipeline}}}},\n"
        "    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'))\n"
        "val_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=2, dataset=part))\n"
        'train_cfg = dict(max_iters=1, val_interval=1)\n'
    )
    run = train_here(config, tmp_path / 'run', ok=False)
    assert run.status == 2 and str(bad) in run.output
