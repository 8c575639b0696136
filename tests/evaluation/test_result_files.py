"""As many results as pictures, each found again from its picture, and nothing else overwritten."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmseg_tapadl.evaluation import PreciseIoUMetric
from mmseg_tapadl.evaluation.result_files import (
    ResultFiles,
    check_apart,
    common_folder,
    is_result,
    kind_of,
    label_map,
)
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


def test_a_result_tells_its_kind_and_no_other_kind_overwrites_it(tmp_path):
    labels = ResultFiles(tmp_path, base=tmp_path / 'in')
    overlays = ResultFiles(tmp_path, base=tmp_path / 'in', kind='overlay')
    picture, colours = tmp_path / 'in/a.jpg', np.stack([MAP] * 3, axis=-1)
    with pytest.raises(InputError, match=r'a\.png would be both a label map and an overlay'):
        check_apart(labels, overlays, [picture])
    (tmp_path / 'link').symlink_to(tmp_path)  # the same folder under another name
    with pytest.raises(InputError, match='both'):
        check_apart(labels, ResultFiles(tmp_path / 'link', base=tmp_path / 'in', kind='overlay'), [picture])
    check_apart(labels, ResultFiles(tmp_path / 'o', base=tmp_path / 'in', kind='overlay'), [picture])
    before = labels.save(picture, MAP).read_bytes()
    assert kind_of(tmp_path / 'a.png') == 'label map'
    for act in (lambda: overlays.check([picture]), lambda: overlays.save(picture, colours)):
        with pytest.raises(InputError, match=r'a\.png is there already as a label map .* by an overlay'):
            act()
    assert (tmp_path / 'a.png').read_bytes() == before
    overlays.save(tmp_path / 'in/b.jpg', colours)
    assert kind_of(tmp_path / 'b.png') == 'overlay'
    with pytest.raises(InputError, match='as an overlay'):
        labels.check([tmp_path / 'in/b.jpg'])


@pytest.mark.parametrize(('pixels', 'kind'), [(MAP, 'label map'), (np.stack([MAP] * 3, axis=-1), 'overlay')])
def test_results_of_before_are_told_apart_by_their_pixels(tmp_path, pixels, kind):
    maker = PngInfo()
    maker.add_text('Software', 'mmseg_tapadl result')
    Image.fromarray(pixels).save(tmp_path / 'a.png', pnginfo=maker)
    assert is_result(tmp_path / 'a.png') and kind_of(tmp_path / 'a.png') == kind
    ResultFiles(tmp_path, base='/in', kind=kind).check(['/in/a.png'])


def test_the_metric_loses_no_result(tmp_path):
    """Pictures of one stem in one folder; a list of pictures, so also those of two data sets put together."""
    metric = PreciseIoUMetric(output_dir=str(tmp_path / 'out'), format_only=True)
    metric.dataset_meta = {'classes': ('a', 'b')}
    sample = {'pred_sem_seg': {'data': torch.zeros(1, 2, 2)}}
    for _ in range(2):  # a later evaluation writes the same files again
        metric.process({}, [{'img_path': '/data/p00.jpg', **sample}])
        metric.evaluate(1)
    metric.process({}, [{'img_path': '/data/p00.jpg', **sample}])
    with pytest.raises(InputError, match=r'p00\.jpg and .*p00\.png would share the result'):
        metric.process({}, [{'img_path': '/data/p00.png', **sample}])


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
