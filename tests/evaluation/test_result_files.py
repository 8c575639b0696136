"""As many results as pictures, each found again from its picture, and nothing else overwritten."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_tapadl.evaluation import PreciseIoUMetric
from mmseg_tapadl.evaluation.result_files import ResultFiles, common_folder, is_result, label_map
from mmseg_tapadl.utils import InputError

MAP = np.arange(6, dtype=np.uint8).reshape(2, 3)


def test_names_follow_the_whole_path(tmp_path):
    files = ResultFiles(tmp_path / 'out', base='/data/val')
    assert files.path_of('/data/val/left/0001.jpg') == tmp_path / 'out/left/0001.png'
    assert files.path_of('/data/val/a.b.tif') == tmp_path / 'out/a.b.png'
    assert files.path_of('/data/val/frame.0001') == tmp_path / 'out/frame.0001.png'  # no suffix of a picture
    assert files.path_of('/other/0001.JPG') == tmp_path / 'out/other/0001.png'
    assert files.path_of('/data/val/../x/1.png') == tmp_path / 'out/data/x/1.png'
    assert common_folder(['/data/val/a/1.png', '/data/val/b/1.png']) == '/data/val'
    assert common_folder([]) is None


@pytest.mark.parametrize(
    'name', ['x' * 251 + '.png', 'x' * 252 + '.im', '街' * 85, 'y' * 255, 'é' * 125 + '.jpg', b'\xdf\xff.png']
)
def test_what_may_lie_in_the_source_may_be_written(tmp_path, name):
    source = tmp_path / 'in' / os.fsdecode(name)
    source.parent.mkdir()
    source.touch()
    files = ResultFiles(tmp_path / 'out', base=source.parent)
    files.check([source])
    result = files.save(source, MAP)
    assert result == files.path_of(source) and is_result(result)
    assert np.array_equal(np.asarray(Image.open(result)), MAP)
    # Another long name that begins alike has another result.
    other = source.with_name(source.name[:-5] + 'z' + source.name[-4:])
    assert files.path_of(other) != result


def test_two_pictures_of_one_result_are_named_before_the_first_is_written(tmp_path):
    files = ResultFiles(tmp_path / 'out', base=tmp_path)
    with pytest.raises(InputError, match=r'a\.jpg.* and .*a\.png.* would share the result .*out/a\.png'):
        files.check([tmp_path / 'a.jpg', tmp_path / 'b.png', tmp_path / 'a.png'])
    files.check([tmp_path / 'a.png', tmp_path / 'a.png'])  # one picture, seen twice
    assert not (tmp_path / 'out').exists()


def test_files_that_are_no_results_are_not_overwritten(tmp_path):
    Image.fromarray(MAP).save(tmp_path / 'a.png')
    before = (tmp_path / 'a.png').read_bytes()
    files = ResultFiles(tmp_path, base=tmp_path / 'images')
    with pytest.raises(InputError, match=r'a\.png belongs to the data'):
        files.check([tmp_path / 'images/a.png'], sources=[tmp_path / 'a.png'])
    for act in (lambda p: files.check([p]), lambda p: files.save(p, MAP)):
        with pytest.raises(InputError, match=r'a\.png is there already'):
            act(tmp_path / 'images/a.jpg')
    assert (tmp_path / 'a.png').read_bytes() == before
    files.save(tmp_path / 'images/b.jpg', MAP)
    files.check([tmp_path / 'images/b.jpg'])
    files.save(tmp_path / 'images/b.jpg', MAP + 1)  # a result may be made again
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'b.png')), MAP + 1)


def test_label_maps_hold_every_id():
    assert label_map(torch.tensor([[[0, 255]]])).dtype == np.uint8
    assert label_map(torch.tensor([[[0, 300]]])).tolist() == [[0, 300]]


def test_the_metric_keeps_folders_apart(tmp_path):
    metric = PreciseIoUMetric(output_dir=str(tmp_path), format_only=True)
    metric.dataset_meta = {'classes': ('a', 'b')}
    for number, folder in enumerate(('left', 'right')):
        prediction = torch.full((1, 2, 2), number)
        metric.process({}, [{'img_path': f'{folder}/0001.jpg', 'pred_sem_seg': {'data': prediction}}])
    found = sorted(tmp_path.rglob('*.png'))
    assert [str(path.relative_to(tmp_path)) for path in found] == ['left/0001.png', 'right/0001.png']
    assert [np.asarray(Image.open(path)).max() for path in found] == [0, 1]
