"""A prediction takes the pictures that a data set would take, and never its own results."""

import os

import numpy as np
import pytest

from mmseg_tapadl.evaluation.result_files import ResultFiles
from mmseg_tapadl.inference.sources import find_pictures
from mmseg_tapadl.utils import InputError
from tests.inference.own_data import picture


def names(folder, **kwargs):
    root, pictures = find_pictures(folder, **kwargs)
    return [str(path.relative_to(root)) for path in pictures]


def test_a_folder_is_listed_as_data_sets_list_it(tmp_path):
    from mmengine.fileio import list_dir_or_file

    source, elsewhere = tmp_path / 'in', tmp_path / 'elsewhere'
    (source / 'sub').mkdir(parents=True)
    elsewhere.mkdir()
    for path in (
        source / 'B.PNG',
        source / 'sub/a.jpg',
        elsewhere / 'c.ppm',
        source / '._a.png',
        source / 'd.txt',
    ):
        picture(0).save(path, format='PNG')
    (source / 'folder.png').mkdir()
    (source / 'nowhere.png').symlink_to(tmp_path / 'gone.png')
    (source / 'linked').symlink_to(elsewhere)
    (source / 'one.png').symlink_to(elsewhere / 'c.ppm')
    assert names(source) == ['B.PNG', 'linked/c.ppm', 'one.png', 'sub/a.jpg']
    assert {*names(source), 'd.txt'} == set(list_dir_or_file(str(source), list_dir=False, recursive=True))
    # Here mmengine's own listing ends with an error.
    (source / 'itself.png').symlink_to(source / 'itself.png')
    assert len(names(source, suffixes=['.TXT'])) == 5
    (source / 'sub/round').symlink_to(source)
    assert names(source) == ['B.PNG', 'linked/c.ppm', 'one.png', 'sub/a.jpg']


def test_results_are_no_pictures_wherever_they_lie(tmp_path, capsys):
    picture(0).save(tmp_path / 'a.png')
    for folder in ('old/labels', 'new/labels'):
        ResultFiles(tmp_path / folder, base=tmp_path).save(tmp_path / 'a.png', np.zeros((2, 2), np.uint8))
    os.rename(tmp_path / 'old/labels/a.png', tmp_path / 'copied.png')
    picture(1).save(tmp_path / 'new/labels/unmarked.png')  # as versions before wrote them
    assert names(tmp_path, passed_over=[tmp_path / 'new/labels']) == ['a.png']
    assert '1 results' in capsys.readouterr().out
    assert find_pictures(tmp_path / 'copied.png')[1] == [tmp_path / 'copied.png']  # asked for by name


def test_what_holds_no_picture_says_so(tmp_path):
    with pytest.raises(InputError, match='no picture in this folder'):
        find_pictures(tmp_path)
    with pytest.raises(InputError, match=r'gone\\xdf: no such picture'):
        find_pictures(os.fsdecode(os.fsencode(tmp_path) + b'/gone\xdf'))
