"""Polygons become masks: against a plain test of every pixel, and what is no COCO file is named."""

import json

import numpy as np
import pytest
from PIL import Image

from mmseg_tapadl.datasets.coco_masks import convert_coco
from mmseg_tapadl.utils import InputError


def box(left: int, top: int, right: int, bottom: int) -> list[int]:
    return [left, top, right, top, right, bottom, left, bottom]


def annotations(**changes) -> dict:
    """A picture of 20x12 with a road, a car over it and one by run lengths; and one without objects."""
    lengths = {'counts': [0, 12, 228], 'size': [12, 20]}  # the first column
    return {
        'images': [
            {'id': 7, 'file_name': 'ulm/Straße 1.jpg', 'height': 12, 'width': 20},
            {'id': 9, 'file_name': 'empty.jpg', 'height': 4, 'width': 5},
        ],
        'annotations': [
            {'image_id': 7, 'category_id': 3, 'segmentation': [box(4, 6, 8, 8), box(14, 0, 16, 2)]},
            {'image_id': 7, 'category_id': 1, 'segmentation': [box(2, 4, 18, 12)]},
            {'image_id': 7, 'category_id': 3, 'segmentation': lengths, 'iscrowd': 1},
            {'image_id': 7, 'category_id': 3, 'segmentation': [[1, 1, 2, 2]]},
        ],
        'categories': [{'id': 3, 'name': 'car'}, {'id': 1, 'name': 'road'}],
    } | changes


def convert(tmp_path, content, **options):
    (tmp_path / 'a.json').write_text(json.dumps(content), encoding='utf-8')
    return convert_coco(tmp_path / 'a.json', tmp_path / 'masks', progress=False, **options)


@pytest.mark.parametrize('background', [255, 0])
def test_masks(background, tmp_path):
    done = convert(tmp_path, annotations(), background=background)
    assert (done.names, done.written, done.objects, done.passed_over) == ({1: 'road', 3: 'car'}, 2, 3, 1)
    expected = np.full((12, 20), background)
    expected[4:12, 2:18] = 1
    expected[6:8, 4:8] = expected[0:2, 14:16] = expected[:, 0] = 3
    mask = np.array(Image.open(tmp_path / 'masks/ulm/Straße 1.png'))
    np.testing.assert_array_equal(mask, expected)
    assert (np.array(Image.open(tmp_path / 'masks/empty.png')) == background).all()
    again = convert(tmp_path, annotations(), background=background)
    assert again == done


def test_ids_that_8_bits_do_not_hold(tmp_path):
    content = annotations()
    for item in (*content['categories'], *content['annotations']):
        item.update({key: item[key] + 1000 for key in ('category_id',) if key in item})
        if 'name' in item:
            item['id'] += 1000
    assert convert(tmp_path, content, background=0).names == {1: 'road', 2: 'car'}


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        ({'images': []}, 'no list of images'),
        ({'categories': [{'id': 1}]}, r'categories\[0\] has no name'),
        ({'annotations': [{'image_id': 7, 'category_id': 5}]}, r'annotations\[0\]\.category_id is 5'),
        (
            {'images': [{'id': 7, 'file_name': '../up.jpg', 'height': 1, 'width': 1}], 'annotations': []},
            'leads out',
        ),
        (
            {
                'images': [{'id': n, 'file_name': f'a.{n}', 'height': 1, 'width': 1} for n in ('jpg', 'bmp')],
                'annotations': [],
            },
            'would have one mask',
        ),
    ],
)
def test_files_that_are_none(changes, told, tmp_path):
    with pytest.raises(InputError, match=told):
        convert(tmp_path, annotations(**changes))
    assert not (tmp_path / 'masks').exists()


def test_nothing_is_overwritten(tmp_path):
    mask = tmp_path / 'masks/empty.png'
    mask.parent.mkdir()
    mask.write_bytes(b'mine')
    with pytest.raises(InputError, match=r'empty\.png: is there with other content'):
        convert(tmp_path, annotations())
    assert mask.read_bytes() == b'mine'
