"""The painted city: reproducible bytes, right labels, a plausible camera, weather that is weather."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset
from PIL import Image

from demo_city import (
    ADVERSE,
    MANIFEST,
    DemoCityError,
    DemoCityOptions,
    list_pictures,
    paint_picture,
    write_demo_city,
)
from demo_city.canvas import Canvas
from demo_city.scene import paint_scene
from demo_city.weather import render
from mmseg_tapadl.datasets import ACDCDataset

SMALL = DemoCityOptions(
    train=2, val=1, adverse_train=1, adverse_val=1, adverse_test=1, width=96, height=48, seed=3
)


@pytest.fixture(scope='module')
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp('city')
    counts = write_demo_city(root, SMALL, jobs=2, progress=False)
    return root, counts


def contents(root) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*.png'))}


@pytest.fixture(scope='module')
def scene():
    """A street at a readable size, as the weather sees it."""
    scene = paint_scene(np.random.default_rng(8), 512, 256)
    scene.canvas = scene.canvas.shrunk(2)
    return scene


def test_two_processes_and_one_paint_the_same_bytes(city, tmp_path):
    root, _ = city
    write_demo_city(tmp_path, SMALL, jobs=1, progress=False)
    assert contents(tmp_path) == contents(root)


def test_a_picture_depends_on_seed_split_condition_and_index_only():
    chosen = {(p.split, p.condition, p.index): p for p in list_pictures(SMALL)}
    picture = chosen['train', 'clear', 1]
    image, label = paint_picture(picture, SMALL)
    more = replace(SMALL, train=9, val=0, adverse_val=0)
    again = next(p for p in list_pictures(more) if p.image == picture.image)
    for first, second in zip(paint_picture(again, more), (image, label), strict=True):
        np.testing.assert_array_equal(first, second)
    others = [
        paint_picture(picture, replace(SMALL, seed=4)),
        paint_picture(chosen['train', 'clear', 0], SMALL),
        paint_picture(chosen['val', 'clear', 0], SMALL),
    ]
    labels = [label, *(other[1] for other in others)]
    assert len({part.tobytes() for part in labels}) == len(labels)


def test_mmseg_reads_both_layouts(city):
    root, counts = city
    expected = Counter({'train': 2, 'val': 1})
    for condition in ADVERSE:
        expected += Counter({f'{condition}/{split}': 1 for split in ('train', 'val', 'test', 'val_ref')})
    assert counts == expected
    loading = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]
    clear = CityscapesDataset(
        data_root=str(root),
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=loading,
    )
    adverse = ACDCDataset(data_root=str(root), split='val', pipeline=loading)
    assert (len(clear), len(adverse)) == (2, 4)
    for data in (clear, adverse):
        for sample in data:
            assert sample['img'].shape == (48, 96, 3) and sample['gt_seg_map'].shape == (48, 96)
            assert set(np.unique(sample['gt_seg_map'])) <= {*range(19), 255}


def test_test_and_reference_pictures_have_no_labels(city):
    root, _ = city
    for split in ('test', 'val_ref'):
        assert len(list(root.glob(f'rgb_anon/*/{split}/*/*.png'))) == 4
        assert not list(root.glob(f'gt/*/{split}'))


def test_the_reference_is_the_clear_twin_of_the_first_validation_picture():
    chosen = {(p.split, p.condition): p for p in list_pictures(SMALL)}
    fog, label = paint_picture(chosen['val', 'fog'], SMALL)
    clear, same = paint_picture(chosen['val_ref', 'fog'], SMALL)
    np.testing.assert_array_equal(label, same)
    assert clear.std() > fog.std()


def test_all_classes_occur():
    """Also the small ones, in a city of the size of ``make demo``."""
    options = DemoCityOptions(width=192, height=96)
    seen: set[int] = set()
    for picture in list_pictures(options)[: options.train]:
        seen |= set(np.unique(paint_picture(picture, options)[1]).tolist())
        if len(seen) == 20:
            break
    assert seen == {*range(19), 255}


def test_a_finished_city_is_kept_and_an_unfinished_one_painted_anew(tmp_path):
    options = replace(SMALL, train=1, val=0, adverse_train=0, adverse_val=0, adverse_test=0)
    assert write_demo_city(tmp_path, options, jobs=1, progress=False) == Counter(train=1)
    first = contents(tmp_path)
    image = next(tmp_path.rglob('*_leftImg8bit.png'))
    stamp = image.stat().st_mtime_ns
    assert write_demo_city(tmp_path, options, jobs=1, progress=False) is None
    assert image.stat().st_mtime_ns == stamp
    # As after a kill: the parameters noted, the manifest not yet there.
    image.unlink()
    (tmp_path / MANIFEST).rename(tmp_path / '.demo_city_unfinished.json')
    assert write_demo_city(tmp_path, options, jobs=1, progress=False) == Counter(train=1)
    assert contents(tmp_path) == first
    # A picture lost later is painted again, too.
    image.unlink()
    write_demo_city(tmp_path, options, jobs=1, progress=False)
    assert contents(tmp_path) == first


def test_another_city_is_replaced_only_when_asked(tmp_path):
    options = replace(SMALL, train=2, val=0, adverse_train=0, adverse_val=0, adverse_test=0)
    write_demo_city(tmp_path, options, jobs=1, progress=False)
    other = replace(options, train=1)
    with pytest.raises(DemoCityError, match=r'train 2 \(asked for: 1\).*--overwrite'):
        write_demo_city(tmp_path, other, jobs=1, progress=False)
    write_demo_city(tmp_path, other, overwrite=True, jobs=1, progress=False)
    assert len(contents(tmp_path)) == 2


@pytest.mark.parametrize('overwrite', [False, True])
def test_data_of_others_is_never_touched(tmp_path, overwrite):
    precious = tmp_path / 'leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png'
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b'mine')
    with pytest.raises(DemoCityError, match='not painted by this tool'):
        write_demo_city(tmp_path, SMALL, overwrite=overwrite, jobs=1, progress=False)
    assert precious.read_bytes() == b'mine'


@pytest.mark.parametrize('wrong', [dict(width=32), dict(train=-1), dict(seed=-1)])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(DemoCityError, match=next(iter(wrong.values())).__str__()):
        replace(SMALL, **wrong)


def test_the_camera_puts_a_board_where_the_pinhole_says():
    """A board 2 m wide and 1 m high, 10 m ahead: 220 px of focal length per height give 22 px a metre."""
    canvas = Canvas(100, 100, eye=1.5, horizon=0.5, vanishing=0.5)
    canvas.board([(-1, 0), (-1, 1), (1, 1), (1, 0)], 10.0, (10, 20, 30), 7)
    # Columns 50 -+ 22; rows from 50 + 0.5 * 22 = 61 to 50 + 1.5 * 22 = 83
    expected = np.zeros((100, 100), bool)
    expected[61:83, 28:72] = True
    inside = expected & (canvas.label == 7)
    # The outline's own pixels may go either way.
    assert inside.sum() == expected.sum()
    assert (canvas.label == 7).sum() - expected.sum() <= 2 * (44 + 22) + 4
    assert np.all(canvas.depth[expected] == 10) and np.all(canvas.colour[expected] == (10, 20, 30))


def test_depth_of_the_ground_is_that_of_the_pinhole():
    canvas = Canvas(120, 80, eye=1.4, horizon=0.45, vanishing=0.5)
    canvas.polygon([(-50, 0, 2), (50, 0, 2), (50, 0, 300), (-50, 0, 300)], (9, 9, 9), 0)
    rows = np.arange(45, 80)
    expected = canvas.focal * 1.4 / (rows + 0.5 - canvas.centre_v)
    found = canvas.depth[rows, 60]
    good = (expected > 3) & (expected < 250)
    np.testing.assert_allclose(found[good], expected[good], rtol=1e-4)


def test_what_is_nearer_covers_what_is_farther():
    canvas = Canvas(60, 60, eye=1.0, horizon=0.5, vanishing=0.5)
    for z, label in ((20.0, 2), (5.0, 13)):
        canvas.board([(-1, 0), (-1, 2), (1, 2), (1, 0)], z, (z, z, z), label)
    assert canvas.label[30, 30] == 13 and canvas.depth[30, 30] == 5
    # A detail changes the colour alone.
    canvas.board([(-0.5, 0.5), (-0.5, 1.5), (0.5, 1.5), (0.5, 0.5)], 5.0, (200, 0, 0))
    assert canvas.label[30, 30] == 13 and tuple(canvas.colour[30, 30]) == (200, 0, 0)


def test_labels_and_colours_share_their_outlines(scene):
    """Shrinking picks labels, it never makes up a class that was not painted there."""
    canvas = paint_scene(np.random.default_rng(8), 512, 256).canvas
    blocks = canvas.label.reshape(128, 2, 256, 2).transpose(0, 2, 1, 3).reshape(128, 256, 4)
    assert (blocks == scene.canvas.label[..., None]).any(axis=-1).all()


def pictures(scene, condition: str) -> np.ndarray:
    return render(scene, np.random.default_rng(1), condition)


def test_fog_hides_what_is_far_and_spares_what_is_near(scene):
    canvas = scene.canvas
    clear, fog = (pictures(scene, name).mean(axis=-1) for name in ('clear', 'fog'))
    near = (canvas.depth < 12) & (canvas.label != 255)
    far = (canvas.depth > 50) & (canvas.label != 10)
    assert far.sum() > 300
    kept = [fog[part].std() / clear[part].std() for part in (near, far)]
    assert kept[0] > 0.5 > 0.35 > kept[1]


def test_night_is_dark_and_its_lights_are_bright(scene):
    clear, night = (pictures(scene, name).mean(axis=-1) for name in ('clear', 'night'))
    assert night.mean() < 0.5 * clear.mean()
    sky = scene.canvas.label == 10
    assert night[sky].mean() < 60
    lights = scene.canvas.glow.max(axis=-1) > 200
    assert night[lights].mean() > 2.5 * night.mean()


def test_snow_whitens_the_ground(scene):
    clear, snow = (pictures(scene, name).mean(axis=-1) for name in ('clear', 'snow'))
    ground = np.isin(scene.canvas.label, (0, 1, 9))
    assert snow[ground].mean() > clear[ground].mean() + 40


def test_rain_takes_light_and_colour(scene):
    clear, rain = (pictures(scene, name) for name in ('clear', 'rain'))
    assert rain.mean() < 0.9 * clear.mean()
    assert np.ptp(rain, axis=-1).mean() < 0.7 * np.ptp(clear, axis=-1).mean()


def test_rendering_leaves_the_scene_alone(scene):
    before = [layer.copy() for layer in (scene.canvas.colour, scene.canvas.label, scene.canvas.depth)]
    for condition in ('clear', *ADVERSE):
        pictures(scene, condition)
    for old, new in zip(before, (scene.canvas.colour, scene.canvas.label, scene.canvas.depth), strict=True):
        np.testing.assert_array_equal(old, new)


def test_labels_are_one_channel_of_bytes(city):
    root, _ = city
    for path in root.rglob('*labelTrainIds.png'):
        with Image.open(path) as image:
            assert image.mode == 'L'
