"""ACDC in the layouts that users have, and what is said about the ones that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_tapadl.utils import InputError

CONDITIONS = ('fog', 'night', 'rain', 'snow')
WITH_LABELS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
WITHOUT_LABELS = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]


def write(path: Path, mode: str, value: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3) if mode == 'RGB' else (6, 8), value, np.uint8)).save(path)


def make_acdc(root: Path, images: str = 'rgb_anon', labels: str = 'gt', conditions=CONDITIONS) -> Path:
    """Two sequences a condition and split, and twins in normal conditions beside them."""
    for condition in conditions:
        for split in ('train', 'val', 'test'):
            for sequence in ('GOPR1', 'GP020'):
                for frame in (7, 12):
                    stem = f'{condition}/{split}/{sequence}/{sequence}_frame_{frame:06d}'
                    write(root / images / f'{stem}_rgb_anon.png', 'RGB')
                    if split != 'test':
                        write(root / labels / f'{stem}_gt_labelTrainIds.png', 'L')
                    ref = f'{condition}/{split}_ref/{sequence}/{sequence}_frame_{frame:06d}'
                    write(root / images / f'{ref}_rgb_ref_anon.png', 'RGB')
                    write(root / images / f'{ref}_rgb_anon.png', 'RGB')
    return root


def build(root: Path, **options):
    options = {'split': 'val', 'pipeline': WITH_LABELS, 'test_mode': True, **options}
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(dict(type='ACDCDataset', data_root=str(root), **options))


@pytest.mark.parametrize(
    ('images', 'labels'), [('rgb_anon', 'gt'), ('rgb_anon_trainvaltest/rgb_anon', 'gt_trainval/gt')]
)
def test_layouts_in_the_wild(tmp_path, images, labels):
    dataset = build(make_acdc(tmp_path, images, labels))
    assert len(dataset) == 16
    paths = [dataset.get_data_info(i)['img_path'] for i in range(16)]
    assert not any('_ref' in path for path in paths)
    assert [dataset.get_data_info(i)['condition'] for i in range(16)] == [
        c for c in CONDITIONS for _ in range(4)
    ]
    sample = dataset[5]['data_samples']
    assert sample.gt_sem_seg.data.unique().tolist() == [1]
    assert (
        sample.img_path.replace(f'/{images}/', f'/{labels}/').replace(
            '_rgb_anon.png', '_gt_labelTrainIds.png'
        )
        == sample.seg_map_path
    )
    assert len(dataset.metainfo['classes']) == 19 and dataset.metainfo['classes'][0] == 'road'


def test_one_condition_some_and_indices(tmp_path):
    root = make_acdc(tmp_path)
    assert {build(root, condition='night').get_data_info(i)['condition'] for i in range(4)} == {'night'}
    two = build(root, condition=['snow', 'fog'], split='train')
    assert [two.get_data_info(i)['condition'] for i in range(len(two))] == ['fog'] * 4 + ['snow'] * 4
    assert len(build(root, indices=3)) == 3


def test_annotation_file_and_own_folders(tmp_path):
    root = make_acdc(tmp_path, 'pictures', 'labels')
    (root / 'list.txt').write_text(
        'rain/val/GOPR1/GOPR1_frame_000007\nrain/val_ref/GOPR1/GOPR1_frame_000007\n'
    )
    prefix = dict(img_path='pictures', seg_map_path='labels')
    assert len(build(root, data_prefix=prefix)) == 16
    listed = build(root, data_prefix=prefix, ann_file='list.txt')
    assert [Path(listed.get_data_info(i)['img_path']).parts[-3:-1] for i in range(len(listed))] == [
        ('val', 'GOPR1')
    ]


def test_the_test_split_has_no_labels(tmp_path):
    root = make_acdc(tmp_path)
    dataset = build(root, split='test', pipeline=WITHOUT_LABELS)
    assert len(dataset) == 16
    assert 'gt_sem_seg' not in dataset[0]['data_samples']
    with pytest.raises(InputError, match='withheld'):
        build(root, split='test', pipeline=WITH_LABELS)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(InputError, match=r'rgb_anon.*fog, night, rain, snow'):
        build(tmp_path / 'nowhere')
    some = make_acdc(tmp_path / 'some', conditions=('fog', 'rain'))
    with pytest.raises(
        InputError, match=r"night/val is missing.*snow/val is missing.*condition=\['fog', 'rain'\]"
    ):
        build(some)
    assert len(build(some, condition=['fog', 'rain'])) == 8
    for frame in ('000001', '000002'):
        write(tmp_path / f'twins/rgb_anon/fog/val_ref/S1/S1_frame_{frame}_rgb_ref_anon.png', 'RGB')
    with pytest.raises(InputError, match=r'fog/val is missing \(there is only val_ref.*never evaluated'):
        build(tmp_path / 'twins')
    root = make_acdc(tmp_path / 'labels')
    gone = root / 'gt/snow/val/GP020/GP020_frame_000012_gt_labelTrainIds.png'
    gone.unlink()
    with pytest.raises(InputError, match=f'1 of 16 labels.*{gone.name}'):
        build(root)
    with pytest.raises(InputError, match='fog, night, rain, snow'):
        build(root, condition='hail')
    with pytest.raises(InputError, match='train, val, test'):
        build(root, split='dev')
