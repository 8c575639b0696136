"""The data check lists what the data set lists: hidden files, links, lists of names, names that are no UTF-8."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_tapadl.datasets import ACDCDataset
from mmseg_tapadl.datasets.integrity import Report, check_dataset, fault_lines
from tests.datasets.own_set import SIZE, check_own, make_own_set, own_config, told


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))


def listed_by_the_set(root: Path, **more) -> list[str]:
    config = {**own_config(root, **more), 'pipeline': [], 'lazy_init': True}
    return sorted(entry['img_path'] for entry in DATASETS.build(config).load_data_list())


def test_hidden_files_are_no_pictures_and_no_labels(tmp_path):
    make_own_set(tmp_path)
    for folder in ('images', 'labels'):
        for name in ('._p00.png', '.DS_Store', '.hidden.png'):
            (tmp_path / folder / name).write_bytes(b'Mac OS X')
        (tmp_path / folder / 'folder.png').mkdir()
    report = check_own(tmp_path)
    assert report.ok and report.pictures == 2 == len(listed_by_the_set(tmp_path))


def test_hidden_files_are_no_pictures_of_acdc(tmp_path):
    folder = tmp_path / 'rgb_anon/fog/val/seq'
    folder.mkdir(parents=True)
    for name in ('seq_frame_000001_rgb_anon.png', '._seq_frame_000001_rgb_anon.png'):
        (folder / name).write_bytes(b'')
    dataset = ACDCDataset(data_root=str(tmp_path), condition='fog', lazy_init=True)
    assert [Path(entry['img_path']).name for entry in dataset.list_pictures()] == [
        'seq_frame_000001_rgb_anon.png'
    ]


def test_links_are_followed_as_the_set_follows_them(tmp_path):
    make_own_set(tmp_path / 'elsewhere')
    make_own_set(tmp_path, ('own',))
    for folder in ('images', 'labels'):
        (tmp_path / folder / 'linked').symlink_to(tmp_path / 'elsewhere' / folder)
    report = check_own(tmp_path)
    assert report.ok and report.pictures == 3 == len(listed_by_the_set(tmp_path))
    # A label in a linked folder whose picture is missing, which the set's own listing passes over
    (tmp_path / 'elsewhere/images/p00.png').unlink()
    assert told(check_own(tmp_path)) == [('image_missing', 'p00.png')]


@pytest.mark.parametrize('folder', ['images', 'labels'])
def test_a_link_back_is_the_only_thing_told(tmp_path, folder):
    """Listing would meet the same folder again, through each of two links; also by way of a folder elsewhere."""
    make_own_set(tmp_path)
    for name, target in (('s', '.'), ('t', '.')):
        (tmp_path / folder / name).symlink_to(target)
    report = check_own(tmp_path)
    assert told(report) == [('no_data', 's')]
    assert 'leads back to' in report.faults[0].detail and report.faults[0].path.endswith(f'{folder}/s')
    for name in ('s', 't'):
        (tmp_path / folder / name).unlink()
    (tmp_path / folder / 'above').symlink_to('..')
    assert told(check_own(tmp_path)) == [('no_data', 'above')]


def test_links_to_nothing_are_told_also_where_there_are_no_labels(tmp_path):
    make_own_set(tmp_path)
    (tmp_path / 'images/gone.png').symlink_to('nowhere.png')
    pictures_only = dict(label=dict(type='Resize', scale=SIZE), test_mode=True)
    [fault] = check_own(tmp_path, **pictures_only).faults
    assert (
        fault.kind == 'image_missing'
        and fault.path.endswith('gone.png')
        and 'link to nothing' in fault.detail
    )


def test_endings_in_another_case_are_told(tmp_path):
    make_own_set(tmp_path)
    (tmp_path / 'images/p00.png').rename(tmp_path / 'images/p00.PNG')
    [fault] = check_own(tmp_path).faults
    assert fault.kind == 'image_missing' and 'there is p00.PNG' in fault.hint
    (tmp_path / 'labels/p00.png').unlink()
    report = check_own(tmp_path)
    assert report.ok and any('1 files are left out' in note and 'p00.PNG' in note for note in report.warnings)


def test_pictures_and_labels_in_one_folder(tmp_path):
    make_own_set(tmp_path)
    for name in ('p00', 'p01'):
        (tmp_path / f'images/{name}.png').rename(tmp_path / f'labels/{name}_photo.png')
        (tmp_path / f'labels/{name}.png').rename(tmp_path / f'labels/{name}_mask.png')
    one = dict(data_prefix=dict(img_path='labels', seg_map_path='labels'))

    def check(suffix: str) -> Report:
        config = {**own_config(tmp_path, suffix), **one, 'seg_map_suffix': '_mask.png'}
        return check_dataset(config, split='train', progress=False)

    assert check('_photo.png').ok
    hints = [fault.hint for fault in check('.png').faults if fault.path.endswith('p00_mask_mask.png')]
    assert 'named as labels are' in hints[0]


# -- lists of names ---------------------------------------------------------------------------------------------------


def check_list(root: Path, content: bytes) -> Report:
    (root / 'names.txt').write_bytes(content)
    return check_own(root, ann_file='names.txt')


@pytest.mark.parametrize(
    'content', [b'p00\np01\n', b'p00\r\np01\r\n', b'p00\np01', b'  p00 \t\np01  \n', b'./p00\np01']
)
def test_lists_that_the_set_reads_rightly_are_good(tmp_path, content):
    make_own_set(tmp_path)
    report = check_list(tmp_path, content)
    assert report.ok and report.pictures == 2 and not report.warnings


@pytest.mark.parametrize(
    ('content', 'line', 'words'),
    [
        ('\ufeffp00\np01\n'.encode(), 1, 'byte order mark'),
        (b'p00\n\np01\n', 2, 'is empty'),
        (b'p00\np01\n\n', 3, 'is empty'),
        (b'p00\np01.png\n', 2, "ends with '.png'"),
        (b'p00\rp01\r', 1, 'carriage returns'),
        (b'p00\nimages/p01\n', 2, "write 'p01'"),
        (b'p00\nimages\\p01.png\n', 2, "write 'p01'"),
        (b'C:\\data\\images\\p00.png\np01\n', 1, "write 'p00'"),
        (b'p00\nimages/p01.png labels/p01.png\n', 2, "write 'p01'"),
        (b'p00,p00\np01\n', 1, "write 'p00'"),
        (b'p00\n"p01"\n', 2, "write 'p01'"),
        (b'p00\nP01\n', 2, 'in other case'),
        (b'# p00\np01\n', 1, 'comment'),
        ('p00\np01\n'.encode('utf-16'), 1, 'UTF-16'),
        ('p00\np01\n'.encode('utf-16-le'), 1, 'UTF-16'),
        ('p00\nstraße\n'.encode('latin-1'), 2, r'stra\xdfe is no UTF-8'),
    ],
)
def test_what_is_wrong_with_a_list_names_the_list_and_the_line(tmp_path, content, line, words):
    make_own_set(tmp_path)
    report = check_list(tmp_path, content)
    [fault] = report.faults
    assert fault.kind == 'name_list' and fault.path == str(tmp_path / 'names.txt')
    assert f'line {line}' in fault.detail and words in f'{fault.detail} {fault.hint}'


def test_an_absolute_path_in_a_list_takes_the_picture_for_its_label(tmp_path):
    make_own_set(tmp_path)
    report = check_list(tmp_path, f'p00\n{tmp_path}/images/p01\n'.encode())
    [fault] = report.faults
    assert fault.kind == 'name_list' and 'line 2' in fault.detail and 'absolute' in fault.detail


def test_the_same_picture_twice_is_noted_with_the_lines(tmp_path):
    make_own_set(tmp_path)
    report = check_list(tmp_path, b'p00\np01\n./p00\np00\n')
    assert report.ok and report.pictures == 4
    [note] = [note for note in report.warnings if 'same picture' in note]
    assert 'names.txt: lines 1, 3, 4' in note and '3 times' in note


def test_a_picture_that_is_not_there_is_told_once_with_its_line(tmp_path):
    make_own_set(tmp_path)
    (tmp_path / 'images/p01.png').unlink()
    [fault] = check_list(tmp_path, b'p00\np01\np01\n').faults
    assert fault.kind == 'image_missing' and 'line 2 of' in fault.detail and 'names.txt' in fault.detail


def test_lists_that_are_missing_empty_or_folders(tmp_path):
    make_own_set(tmp_path)
    [fault] = check_own(tmp_path, ann_file='none.txt').faults
    assert fault.kind == 'name_list' and fault.path.endswith('none.txt')
    [fault] = check_list(tmp_path, b'').faults
    assert fault.kind == 'name_list' and 'empty' in fault.detail
    (tmp_path / 'folder').mkdir()
    report = check_own(tmp_path, ann_file='folder')
    assert report.ok and report.pictures == 2 and any('is a folder' in note for note in report.warnings)


# -- names that are no UTF-8, users without a home --------------------------------------------------------------------


def test_names_that_are_no_utf8_are_checked_and_shown_with_escapes(tmp_path):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b'/gr\xf6\xdfe'))
    make_own_set(root)
    assert check_own(root).ok
    assert check_own(root).cached == 4
    odd = os.fsencode(root) + b'/images/stra\xdfe.png'
    os.rename(root / 'images/p00.png', odd)
    report = check_own(root)
    assert len(report.faults) == 2
    text = '\n'.join(
        [*fault_lines(report, 10), *report.warnings, json.dumps(report.to_json(), ensure_ascii=False)]
    )
    assert r'gr\xf6\xdfe' in text and r'stra\xdfe.png' in text
    text.encode('utf-8', 'strict')
    # The path itself still opens the file.
    assert any(os.path.exists(os.path.dirname(fault.path)) for fault in report.faults)


def test_a_user_without_a_home_folder_checks_without_a_memory(tmp_path, monkeypatch):
    make_own_set(tmp_path)
    for name in ('XDG_CACHE_HOME', 'HOME'):
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, 'getuid', lambda: 4242)
    with pytest.raises(RuntimeError):
        Path.home()
    assert check_own(tmp_path).ok
    assert check_own(tmp_path).cached == 0


@pytest.mark.parametrize(
    'content', ['', '[]', '{"version": 2, "files": []}', '{"version": 2, "files": {}}', '\0']
)
def test_a_memory_that_cannot_be_understood_is_made_anew(tmp_path, content):
    make_own_set(tmp_path)
    assert check_own(tmp_path).ok
    [file] = Path(os.environ['XDG_CACHE_HOME']).rglob('*.json')
    file.write_text(content)
    assert check_own(tmp_path).cached == 0
    known = json.loads(file.read_text())
    for entry in known['files'].values():
        entry[2] = {'other': 1}
    file.write_text(json.dumps(known))
    assert check_own(tmp_path).cached == 0


def test_facts_are_remembered_by_the_loaders_options(tmp_path):
    make_own_set(tmp_path)
    ids = np.array(Image.open(tmp_path / 'labels/p00.png'))
    palette = Image.fromarray(ids).convert('P')
    palette.save(tmp_path / 'labels/p00.png')
    assert check_own(tmp_path).ok and check_own(tmp_path).cached == 4
    other = dict(label=dict(type='LoadAnnotations', imdecode_backend='cv2'))
    report = check_own(tmp_path, **other)
    assert report.cached == 0 and told(report) == [('label_channels', 'p00.png')]
