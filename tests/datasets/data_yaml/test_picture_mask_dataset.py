"""The data set that a ``data.yaml`` becomes: its samples, and the data check on it."""

import os
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_tapadl.datasets.integrity import Report, check_dataset
from mmseg_tapadl.datasets.named_data import read_data, read_splits
from mmseg_tapadl.utils import InputError
from tests.datasets.data_yaml.painted import CLASSES, COLOURS, SIZE, blocks, paint, paint_written, write


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return paint_written(tmp_path)


def masks_of(file: Path, split: str = 'train') -> list[Path]:
    return sorted((file.parent / 'street pictures' / split / 'masks').iterdir())


def check(file: Path, split: str = 'train') -> Report:
    data = read_splits(file, (split,))
    return check_dataset(data[f'{split}_dataloader'].dataset, split=split, progress=False)


def fault_of(report: Report) -> tuple[str, str, str, str]:
    (fault,) = report.faults
    return fault.kind, Path(fault.path).name, fault.detail, fault.hint


def test_samples_hold_the_classes(file):
    dataset = DATASETS.build(read_splits(file).train_dataloader.dataset)
    assert dataset.metainfo['classes'] == ['road', 'sky'] and len(dataset) == 3
    assert dataset.metainfo['palette'] == [list(COLOURS[0]), list(COLOURS[2])]
    for number in range(3):
        sample = dataset[number]['data_samples']
        expected = np.array(CLASSES, np.uint8)[blocks(4, seed=number)]
        np.testing.assert_array_equal(sample.gt_sem_seg.data[0].numpy(), expected)
        assert f'Straße train 街{number}.png' in sample.metainfo['img_path']


def test_test_data_are_test_else_val(file):
    assert read_data(file).test_dataloader.dataset.split == 'val'
    for stem in ('a', 'b'):
        paint(
            file.parent / f'street pictures/test/{stem}.png',
            file.parent / f'street pictures/test/masks/{stem}_mask.png',
            COLOURS,
        )
    file.write_text(file.read_text() + 'test: test\n')
    dataset = DATASETS.build(read_data(file).test_dataloader.dataset)
    assert dataset.metainfo['classes'] == ['road', 'sky'] and len(dataset) == 2
    file.write_text(file.read_text().replace('val: val/images\n', '').replace('test: test\n', ''))
    with pytest.raises(InputError, match=r'data\.yaml has neither test: nor val:'):
        read_data(file)


def test_the_path_is_relative_to_the_file(file, tmp_path, monkeypatch):
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    dataset = read_data(Path('../data.yaml')).test_dataloader.dataset
    assert dataset.data_root == str(tmp_path / 'street pictures')
    text = file.read_text().replace('street pictures', str(tmp_path / 'street pictures'))
    assert (
        read_data(write(tmp_path / 'elsewhere/d.yml', text)).test_dataloader.dataset.data_root
        == dataset.data_root
    )


def test_a_pipeline_that_does_not_know_the_values(file):
    config = read_data(file).test_dataloader.dataset
    inner = dict(type='TestTimeAug', transforms=[[dict(type='LoadAnnotations')]])
    for step in (dict(type='LoadAnnotations'), inner):
        with pytest.raises(InputError, match=r"write dict\(type='MappedLoadAnnotations'\) in its place"):
            DATASETS.build({**config, 'pipeline': [dict(type='LoadImageFromFile'), step]})


def test_a_whole_set_has_no_faults(file):
    report = check(file)
    assert report.faults == [] and (report.pictures, report.labelled) == (3, 3)
    numbers = [blocks(4, seed) for seed in range(3)]
    assert report.pixels == [
        sum(int((n == k).sum()) for n in numbers for k in part) for part in ((0, 1), (2,))
    ]
    again = check(file)
    assert again.cached == 6 and again.pixels == report.pixels


def test_a_changed_list_is_seen_though_the_files_are_known(file):
    assert check(file).ok
    file.write_text(file.read_text().replace(', [60, 40, 222]', ''))
    report = check(file)
    assert [fault.kind for fault in report.faults] == ['label_values'] * 3
    assert '[60, 40, 222] in ' in report.faults[0].detail


def test_what_was_read_as_ids_is_read_anew_as_colours(file):
    colours = file.read_text()
    file.write_text(colours[: colours.index('classes:')] + 'names: [road, sky]\n')
    assert {fault.kind for fault in check(file).faults} == {'label_channels'}
    file.write_text(colours)
    report = check(file)
    assert report.ok and report.cached == 0
    assert check(file).cached == 6


def test_a_colour_in_no_list(file):
    mask = masks_of(file)[1]
    pixels = np.array(Image.open(mask))
    pixels[:5, :7] = (1, 2, 3)
    Image.fromarray(pixels).save(mask)
    kind, name, detail, hint = fault_of(check(file))
    assert (kind, name) == ('label_values', mask.name)
    assert detail == 'a colour in 35 pixels is in no list: [1, 2, 3] in 35'
    assert hint == f'add each to the class it belongs to, or to ignore (classes: {file}:5)'
    dataset = DATASETS.build(read_splits(file).train_dataloader.dataset)
    with pytest.raises(InputError, match='1, 2, 3'):
        dataset[1]


@pytest.mark.parametrize(
    ('spoil', 'kind', 'detail', 'hint'),
    [
        (lambda mask: mask.unlink(), 'label_missing', 'does not exist', 'data.yaml:4'),
        (
            lambda mask: Image.open(mask).crop((0, 0, 40, 48)).save(mask),
            'label_size',
            'is 40x48, its image 64x48',
            '',
        ),
        (
            lambda mask: Image.fromarray(np.zeros(SIZE[::-1], np.uint16)).save(mask),
            'label_bits',
            '16 bits',
            '8 bits a channel',
        ),
        (
            lambda mask: Image.open(mask).resize((8, 6), Image.Resampling.BICUBIC).resize(SIZE).save(mask),
            'label_values',
            'colours in ',
            'nearest neighbour',
        ),
        (
            lambda mask: Image.fromarray(np.array(Image.open(mask))[..., ::-1].copy()).save(mask),
            'label_values',
            'in no list',
            'red and blue exchanged',
        ),
        (lambda mask: mask.write_bytes(mask.read_bytes()[:80]), 'label_truncated', '', ''),
        (lambda mask: Image.new('RGB', SIZE).save(mask), 'label_void', 'every pixel is void ([0, 0, 0])', ''),
    ],
)
def test_each_fault_of_a_mask_is_told(spoil, kind, detail, hint, file):
    mask = masks_of(file)[2]
    spoil(mask)
    found = fault_of(check(file))
    assert found[:2] == (kind, mask.name) and detail in found[2] and hint in found[3]


def test_colours_where_ids_belong_and_ids_in_no_list(file):
    classes = 'classes: [{name: road, ids: [0, 2]}, {name: sky, ids: [1]}]\nignore: {ids: [9]}\n'
    text = file.read_text().split('classes:')[0]
    file.write_text(text + classes)
    report = check(file)
    assert {fault.kind for fault in report.faults} == {'label_channels'}
    assert 'give the classes colors: [[red, green, blue], ...]' in report.faults[0].hint
    for number, mask in enumerate(masks_of(file)):
        Image.fromarray(blocks(4, seed=number).astype(np.uint8)).save(mask)
    details = [fault.detail for fault in check(file).faults]
    assert len(details) == 3 and all('an id in ' in text and 'in no list: 3 in ' in text for text in details)
    file.write_text(file.read_text().replace('[9]', '[3]'))
    assert check(file).ok


def test_pictures_that_are_not_there_in_the_built_set(file):
    config = read_splits(file).train_dataloader.dataset
    os.rename(file.parent / 'street pictures', file.parent / 'gone')
    with pytest.raises(InputError, match='no such folder'):
        DATASETS.build(config)
    report = check_dataset(config, split='train', progress=False)
    assert [fault.kind for fault in report.faults] == ['no_data']


def test_kinds_find_what_a_folder_finds(tmp_path):
    """The converter's layout: the classes of trainIds, from the same files as ``--data FOLDER``."""
    for split in ('train', 'val'):
        stem = f'{split}/bonn/bonn_000000_000019'
        paint(
            tmp_path / f'leftImg8bit/{stem}_leftImg8bit.png',
            tmp_path / f'gtFine/{stem}_gtFine_labelTrainIds.png',
            [0, 8, 10, 255],
        )
    samples = []
    for data in (tmp_path, write(tmp_path / 'data.yaml', 'kind: camvid\n')):
        dataset = DATASETS.build(read_data(data).test_dataloader.dataset)
        samples.append((list(dataset.metainfo['classes']), dataset.metainfo['palette'], dataset[0]))
    assert samples[0][:2] == samples[1][:2]
    labels = [sample[2]['data_samples'].gt_sem_seg.data.numpy() for sample in samples]
    np.testing.assert_array_equal(*labels)


def test_camvid_as_downloaded(tmp_path):
    for split in ('train', 'val'):
        paint(tmp_path / split / '0001TP.png', tmp_path / f'{split}annot/0001TP.png', [0, 3, 10, 11])
    dataset = DATASETS.build(read_data(write(tmp_path / 'd.yaml', 'kind: camvid\n')).test_dataloader.dataset)
    assert (
        list(dataset.metainfo['classes'])[:4] == ['Sky', 'Building', 'Pole', 'Road']
        and len(dataset.metainfo['classes']) == 11
    )
    assert set(dataset[0]['data_samples'].gt_sem_seg.data.unique().tolist()) == {0, 3, 10, 255}
