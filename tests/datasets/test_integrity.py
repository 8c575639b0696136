"""The data check against a catalogue of planted faults."""

import os
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset
from PIL import Image

from demo_city import DemoCityOptions, write_demo_city
from mmseg_tapadl.datasets.integrity import DatasetError, check_config, check_dataset
from tests.datasets.faults import CATALOGUE, SIZE, make_root, pair_paths


def config(root: Path, split: str, **more) -> dict:
    """A Cityscapes data set as the configs write it."""
    return dict(
        type='CityscapesDataset',
        data_root=str(root),
        data_prefix=dict(img_path=f'leftImg8bit/{split}', seg_map_path=f'gtFine/{split}'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
        **more,
    )


def check(root: Path, split: str = 'train', **more):
    return check_dataset(config(root, split), split=split, progress=False, **more)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads what another remembered, or touches the user's cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))


@pytest.fixture(scope='module')
def planted(tmp_path_factory):
    """A root with one fault of every kind of the catalogue in train and in val, and two good pairs in each."""
    root = tmp_path_factory.mktemp('planted')
    make_root(root, count=len(CATALOGUE) + 2)
    expected = {}
    for split in ('train', 'val'):
        for index, fault in enumerate(CATALOGUE):
            expected[split, fault.name] = str(fault.plant(*pair_paths(root, split, index)))
    return root, expected


def test_a_faultless_set_has_no_faults_and_the_right_counts(tmp_path):
    make_root(tmp_path, count=3)
    report = check(tmp_path)
    assert report.ok and not report.warnings
    assert (report.pictures, report.labelled) == (3, 3)
    stored = np.concatenate(
        [np.asarray(Image.open(p)).ravel() for p in tmp_path.glob('gtFine/train/*/*.png')]
    )
    assert report.pixels == [int((stored == i).sum()) for i in range(19)]
    report.raise_if_faulty()


@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_planted_fault_is_reported_once_by_kind_and_path(planted, split):
    root, expected = planted
    report = check(root, split)
    wanted = sorted((fault.kind, expected[split, fault.name]) for fault in CATALOGUE)
    assert sorted((fault.kind, fault.path) for fault in report.faults) == wanted
    hints = {fault.path: fault.hint for fault in report.faults}
    for fault in CATALOGUE:
        assert fault.hint in hints[expected[split, fault.name]], fault.name
    # Whoever reads of one file must find the other.
    assert all(fault.other for fault in report.faults if fault.kind.startswith('label'))


def test_the_catalogue_is_large_enough():
    assert len({fault.name for fault in CATALOGUE}) == len(CATALOGUE) >= 20


def test_label_ids_are_called_so_with_the_way_to_convert_them(planted):
    root, expected = planted
    fault = next(f for f in check(root).faults if f.path == expected['train', 'labelIds for trainIds'])
    assert 'labelIds, given where trainIds belong' in fault.hint
    assert (
        f'CITYSCAPES_DATASET={root} python -m cityscapesscripts.preparation.createTrainIdLabelImgs'
        in fault.hint
    )


def test_check_config_raises_once_over_all_splits_with_paths(planted):
    root, expected = planted
    cfg = {f'{split}_dataloader': dict(dataset=config(root, split)) for split in ('train', 'val')}
    with pytest.raises(DatasetError) as caught:
        check_config(cfg, ['train', 'val', 'test'], progress=False)
    text = str(caught.value)
    assert 'train: CityscapesDataset' in text and 'val: CityscapesDataset' in text
    assert expected['train', 'label missing'] in text and expected['val', 'label missing'] in text
    assert f'and {len(CATALOGUE) - 20} more' in text


def test_unchanged_files_are_remembered_and_changed_ones_read_again(tmp_path):
    make_root(tmp_path, count=4, splits=('train',))
    assert check(tmp_path).cached == 0
    again = check(tmp_path)
    assert again.cached == 8 and again.ok and again.pixels == check(tmp_path, cache=False).pixels
    _, label = pair_paths(tmp_path, 'train', 2)
    before = label.stat()
    # Same size, another time: a bit flips.
    data = bytearray(label.read_bytes())
    data[-20] ^= 1
    label.write_bytes(bytes(data))
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    report = check(tmp_path)
    assert report.cached == 7
    assert [fault.path for fault in report.faults] == [str(label)]


def test_remembered_facts_are_judged_by_todays_classes(tmp_path):
    make_root(tmp_path, count=1, splits=('train',))
    assert check(tmp_path).ok
    fewer = check(tmp_path, num_classes=5)
    assert fewer.cached == 2
    assert [fault.kind for fault in fewer.faults] == ['label_ids']


def test_a_cache_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    make_root(tmp_path / 'data', count=1, splits=('train',))
    (tmp_path / 'file').write_text('in the way')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert check(tmp_path / 'data').ok


def test_nothing_is_written_below_the_data_root(tmp_path):
    make_root(tmp_path, count=1, splits=('train',))
    before = sorted(tmp_path.rglob('*'))
    check(tmp_path)
    assert sorted(tmp_path.rglob('*')) == before


def test_missing_and_empty_folders_are_named(tmp_path):
    gone = check(tmp_path / 'gone')
    assert [fault.kind for fault in gone.faults] == ['no_data']
    assert str(tmp_path / 'gone') in gone.faults[0].path and 'is not there' in gone.faults[0].hint
    make_root(tmp_path, count=1, splits=('val',))
    absent = check(tmp_path, 'train')
    assert str(tmp_path / 'leftImg8bit/train') in absent.faults[0].path
    (tmp_path / 'leftImg8bit/train').mkdir()
    (tmp_path / 'leftImg8bit/train/a.jpg').write_bytes(b'x')
    empty = check(tmp_path, 'train')
    assert empty.faults[0].kind == 'no_data' and 'a.jpg' in empty.faults[0].hint


def test_a_class_mapping_and_ids_from_one_are_understood(tmp_path):
    make_root(tmp_path, count=2, splits=('train',))
    chosen = config(tmp_path, 'train', metainfo=dict(classes=('car', 'road')))
    report = check_dataset(chosen, split='train', progress=False)
    stored = np.concatenate(
        [np.asarray(Image.open(p)).ravel() for p in tmp_path.glob('gtFine/train/*/*.png')]
    )
    assert report.ok and report.pixels == [int((stored == 13).sum()), int((stored == 0).sum())]
    for path in tmp_path.glob('gtFine/train/*/*.png'):
        ids = np.array(Image.open(path))
        Image.fromarray(np.where(ids == 255, 0, ids + 1).astype(np.uint8)).save(path)
    shifted = check_dataset(config(tmp_path, 'train', reduce_zero_label=True), split='train', progress=False)
    assert shifted.ok and shifted.pixels == [int((stored == i).sum()) for i in range(19)]
    assert 'shifted by one' in check(tmp_path).faults[0].hint


def test_absent_classes_and_grey_pictures_are_notes_not_faults(tmp_path):
    make_root(tmp_path, count=1, splits=('train',))
    image, label = pair_paths(tmp_path, 'train', 0)
    Image.open(image).convert('L').save(image)
    ids = np.array(Image.open(label))
    ids[ids == 16] = 255
    Image.fromarray(ids).save(label)
    report = check(tmp_path)
    assert report.ok
    assert any('never occur: train' in text for text in report.warnings)
    assert any('1 pictures are grey' in text for text in report.warnings)


def test_built_sets_wrappers_and_chosen_indices(tmp_path):
    make_root(tmp_path, count=3)
    built = CityscapesDataset(
        data_root=str(tmp_path), data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')
    )
    assert check_dataset(built, split='val', progress=False).pictures == 3
    both = dict(type='ConcatDataset', datasets=[config(tmp_path, 'train'), config(tmp_path, 'val')])
    repeated = dict(type='RepeatDataset', times=2, dataset=both)
    assert check_dataset(repeated, split='train', progress=False).pictures == 6
    first = check_dataset(config(tmp_path, 'train', indices=1), split='train', progress=False)
    assert first.ok and first.pictures == 1


def test_a_set_of_another_kind_is_left_to_itself(tmp_path):
    make_root(tmp_path, count=1, splits=('train',))
    remote = config(tmp_path, 'train', backend_args=dict(backend='petrel'))
    report = check_dataset(remote, split='train', progress=False)
    assert report.ok and report.pictures == 0 and "backend 'petrel'" in report.warnings[0]


def test_the_sizes_of_the_pictures_are_told_with_an_example_of_each(tmp_path):
    make_root(tmp_path, count=3, splits=('train',))
    image, label = pair_paths(tmp_path, 'train', 1)
    for path in (image, label):
        Image.open(path).resize((20, 30), Image.Resampling.NEAREST).save(path)
    report = check(tmp_path)
    first = str(pair_paths(tmp_path, 'train', 0)[0])
    assert report.ok and report.sizes == {SIZE: first, (20, 30): str(image)}
    assert report.to_json()['sizes'] == [[*SIZE, first], [20, 30, str(image)]]


@pytest.fixture(scope='module')
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp('city')
    options = DemoCityOptions(
        train=0, val=1, adverse_train=0, adverse_val=2, adverse_test=1, width=64, height=32
    )
    write_demo_city(root, options, jobs=1, progress=False)
    return root


def test_acdc_reference_pictures_are_left_out_and_test_needs_no_labels(city):
    with_labels = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    val = dict(type='ACDCDataset', data_root=str(city), split='val', pipeline=with_labels)
    report = check_dataset(val, split='val', progress=False)
    assert (report.pictures, report.labelled, report.ok) == (8, 8, True)
    pictures_only = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    test = dict(type='ACDCDataset', data_root=str(city), split='test', pipeline=pictures_only, test_mode=True)
    report = check_dataset(test, split='test', progress=False)
    assert (report.pictures, report.labelled, report.ok) == (4, 0, True)


def test_acdc_faults_are_all_listed(city, tmp_path):
    import shutil

    root = tmp_path / 'acdc'
    shutil.copytree(city, root)
    labels = sorted((root / 'gt').glob('*/val/*/*.png'))
    labels[0].unlink()
    labels[3].unlink()
    image = sorted((root / 'rgb_anon/snow/val').glob('*/*.png'))[0]
    image.unlink()
    report = check_dataset(
        dict(type='ACDCDataset', data_root=str(root), split='val'), split='val', progress=False
    )
    found = sorted((fault.kind, fault.path) for fault in report.faults)
    wanted = [
        ('image_missing', str(image)),
        ('label_missing', str(labels[0])),
        ('label_missing', str(labels[3])),
    ]
    assert found == wanted
