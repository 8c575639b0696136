"""Overlays: the model's own picture under the right colours."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose, ConcatDataset, RepeatDataset
from mmseg.datasets import BaseSegDataset
from PIL import Image

import mmseg_tapadl.register  # noqa: F401
from mmseg_tapadl.engine.hooks import SaveOverlaysHook
from mmseg_tapadl.evaluation.overlay import colour_labels, overlay_labels
from mmseg_tapadl.evaluation.seen_pictures import SeenPictures, picture_as_seen
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.colours import distinct_colours

RNG = np.random.default_rng(0)
PICTURE = cv2.GaussianBlur(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8), (0, 0), 2)  # RGB


def loaded(path, *more):
    steps = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations'), *more]
    return picture_as_seen(Compose(steps).transforms, {'img_path': str(path)})


def test_ids_without_a_colour_are_black():
    labels = np.array([[0, 1, 2], [255, -1, 300]])
    painted = colour_labels(labels, [[1, 2, 3], [4, 5, 6]])
    assert painted.tolist() == [[[3, 2, 1], [6, 5, 4], [0, 0, 0]], [[0, 0, 0]] * 3]
    assert not colour_labels(labels, []).any()


def test_the_legend_stands_below_and_bears_any_name():
    labels = np.full((20, 30), 1, np.uint8)
    labels[0, 0] = 200
    picture = PICTURE[..., ::-1]
    names = ['straße', '道路\udcff']
    overlay = overlay_labels(picture, labels, classes=names, palette=distinct_colours(2), opacity=0.5)
    assert overlay.shape[0] > 20 and overlay.shape[1:] == (30, 3)
    expected = picture.astype(float) / 2 + np.array(distinct_colours(2)[1][::-1]) / 2
    expected[0, 0] = picture[0, 0] / 2
    assert np.abs(overlay[:20] - expected).max() <= 1
    bare = overlay_labels(picture, labels, classes=names, palette=[], legend=False)
    assert bare.shape == (20, 30, 3)


def test_made_colours_are_distinct_and_not_black():
    colours = {tuple(colour) for colour in distinct_colours(255)}
    assert (
        len(colours) == 255 and (0, 0, 0) not in colours and colours == {*map(tuple, distinct_colours(255))}
    )


@pytest.mark.parametrize(('tag', 'turn'), [(6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180)])
def test_turned_pictures_are_seen_upright(tmp_path, tag, turn):
    exif = Image.Exif()
    exif[0x0112] = tag
    path = tmp_path / 'a.jpg'
    Image.fromarray(PICTURE).transpose(turn).save(path, quality=100, subsampling=0, exif=exif.tobytes())
    seen = loaded(path)
    assert seen.shape == PICTURE.shape
    assert np.abs(seen[..., ::-1].astype(int) - PICTURE).max() < 25


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'I;16'])
def test_other_kinds_of_pictures_are_seen_as_they_are_loaded(tmp_path, mode):
    image = Image.fromarray(PICTURE)
    if mode == 'I;16':
        image = Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    image.save(tmp_path / 'a.png')
    seen = loaded(tmp_path / 'a.png')
    assert np.array_equal(seen, cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_COLOR))


def test_corrupted_before_and_resized_after(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / 'a.png')
    corrupt = dict(type='mmseg.CorruptImage', corruption='contrast', severity=5)
    seen = loaded(
        tmp_path / 'a.png', corrupt, dict(type='Resize', scale=(15, 10)), dict(type='mmseg.PackSegInputs')
    )
    assert seen.shape == (20, 30, 3) and seen.std() < PICTURE.std() / 3
    flipped = loaded(tmp_path / 'a.png', dict(type='mmseg.RandomFlip', prob=1.0, direction='horizontal'))
    assert np.array_equal(flipped[..., ::-1], PICTURE)


def test_bands_and_floats_are_shown_somehow():
    for picture in (
        RNG.random((4, 5, 5)).astype(np.float32),
        RNG.integers(0, 4096, (4, 5), dtype=np.uint16),
        RNG.random((4, 5, 2)).astype(np.float32) * 255,
    ):
        seen = picture_as_seen([], {'img': picture})
        assert seen.shape == (4, 5, 3) and seen.dtype == np.uint8 and seen.max() > 100


def own_set(root, folder, *steps):
    return BaseSegDataset(
        data_root=str(root), img_suffix='.png', metainfo=dict(classes=('a',)), data_prefix=dict(img_path=folder),
        pipeline=[dict(type='LoadImageFromFile'), *steps],
    )  # fmt: skip


FOG = dict(type='mmseg.CorruptImage', corruption='contrast', severity=5)


@pytest.fixture
def two_folders(tmp_path):
    for name in ('plain', 'foggy'):
        (tmp_path / name).mkdir()
        Image.fromarray(PICTURE).save(tmp_path / name / 'a.png')
    return tmp_path


def test_each_data_set_of_a_wrapper_loads_in_its_own_way(two_folders):
    seen = SeenPictures(ConcatDataset([own_set(two_folders, 'plain'), own_set(two_folders, 'foggy', FOG)]))
    assert len(seen.paths) == 2 and seen.labels == []
    plain, foggy = (seen.picture(path) for path in seen.paths)
    assert np.array_equal(plain[..., ::-1], PICTURE) and foggy.std() < plain.std() / 3


def test_a_picture_that_is_loaded_in_two_ways_has_two_results(two_folders):
    plain, again, foggy = (own_set(two_folders, 'plain', *steps) for steps in ([], [], [FOG]))
    assert SeenPictures(ConcatDataset([plain, again])).seen_twice is None
    assert SeenPictures(RepeatDataset(plain, 2)).seen_twice is None
    twice = ConcatDataset([plain, foggy])
    assert SeenPictures(twice).seen_twice == plain.get_data_info(0)['img_path']
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=twice))
    with pytest.raises(InputError, match=r'plain/a\.png is in two data sets'):
        SaveOverlaysHook(str(two_folders / 'out')).before_test_epoch(runner)
