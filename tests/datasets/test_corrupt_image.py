"""Corrupted pixels: those of the library, and the same whenever and wherever they are made."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from imagecorruptions import corrupt
from mmseg.registry import TRANSFORMS

from mmseg_tapadl.datasets.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    corrupt_picture,
    corruption_seed,
    numpy_seeded,
    picture_identity,
)
from mmseg_tapadl.datasets.transforms import CorruptImage

# Everything else is a function of the picture alone.
RANDOM = {
    *('gaussian_noise', 'shot_noise', 'impulse_noise', 'speckle_noise', 'glass_blur', 'motion_blur'),
    *('snow', 'frost', 'fog', 'spatter', 'elastic_transform'),
}
PATH = 'data/leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png'


def street(height: int = 60, width: int = 88, seed: int = 0) -> np.ndarray:
    """A smooth, coloured (H, W, 3) uint8 picture."""
    rough = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(rough, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)


def corrupted(
    name: str, severity: int = 3, *, path: str = PATH, image: np.ndarray | None = None, **options
) -> np.ndarray:
    transform = CorruptImage(name, severity, **options)
    return transform(dict(img=street() if image is None else image, img_path=path))['img']


def digests() -> dict[str, str]:
    """SHA-256 of every corruption at every severity."""
    return {
        f'{name} {severity}': hashlib.sha256(corrupted(name, severity).tobytes()).hexdigest()
        for name in CORRUPTIONS
        for severity in SEVERITIES
    }


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_pixels_are_the_librarys_own(name):
    for severity in SEVERITIES:
        seed = corruption_seed('leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png', name, severity, 0)
        arguments = {'seed': seed} if name in ('glass_blur', 'impulse_noise') else {}
        with numpy_seeded(seed):
            direct = corrupt(street(), severity=severity, corruption_name=name, **arguments)
        assert np.array_equal(corrupted(name, severity), direct)
        assert not np.array_equal(direct, street())


def test_same_pixels_in_another_order_and_in_another_process():
    here = digests()
    np.random.seed(12345)
    backwards = {}
    for key in reversed(here):
        name, severity = key.split()
        corrupted('fog', 2, path='another/picture.png')
        backwards[key] = hashlib.sha256(corrupted(name, int(severity)).tobytes()).hexdigest()
    assert backwards == here
    code = f'import sys; sys.path[:0] = {sys.path!r}; from tests.datasets.test_corrupt_image import digests; import json; print(json.dumps(digests()))'
    root = Path(__file__).resolve().parents[2]
    there = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(there.stdout.splitlines()[-1]) == here


def test_picture_seed_and_severity_matter_where_there_is_chance():
    for name in CORRUPTIONS:
        base = corrupted(name)
        other_picture = corrupted(name, path='data/leftImg8bit/val/ulm/ulm_000000_000020_leftImg8bit.png')
        assert np.array_equal(base, other_picture) == (name not in RANDOM), name
        assert np.array_equal(base, corrupted(name, seed=7)) == (name not in RANDOM), name
        assert not np.array_equal(base, corrupted(name, 5)), name


def test_global_generator_is_left_as_it_was():
    np.random.seed(3)
    expected = np.random.random(4)
    np.random.seed(3)
    for name in CORRUPTIONS:
        corrupted(name)
    assert np.array_equal(np.random.random(4), expected)


def test_only_the_image_changes_and_the_input_is_not_written_to():
    image = street()
    before = image.copy()
    labels = np.arange(60 * 88, dtype=np.uint8).reshape(60, 88)
    results = dict(img=image, img_path=PATH, gt_seg_map=labels.copy(), img_shape=(60, 88), ori_shape=(60, 88))
    changed = CorruptImage('snow', 4)(results)
    assert np.array_equal(image, before)
    assert np.array_equal(changed['gt_seg_map'], labels)
    assert changed['img_shape'] == changed['ori_shape'] == (60, 88)


@pytest.mark.parametrize('size', [(1, 1), (7, 300), (31, 32), (33, 47), (200, 34)])
def test_any_size(size):
    image = street(*size)
    for name in CORRUPTIONS:
        for severity in (1, 5):
            result = corrupted(name, severity, image=image)
            assert result.shape == image.shape and result.dtype == np.uint8, name


def test_spatter_without_a_drop_leaves_the_picture():
    # On tiny pictures it happens that no drop falls; the library then divides 0 by 0 and returns black.
    image = street(40, 40)
    for seed in range(150):
        result = corrupt_picture(image, identity='a', corruption='spatter', severity=1, seed=seed)
        if np.array_equal(result, image):
            return
        assert result.any()
    pytest.fail('a drop fell in each of 150 tiny pictures')


def test_rgb_order_turns_around_the_library():
    for name in ('frost', 'spatter', 'snow', 'jpeg_compression', 'contrast'):
        seed = corruption_seed(picture_identity(PATH), name, 2, 0)
        with numpy_seeded(seed):
            direct = corrupt(np.ascontiguousarray(street()[..., ::-1]), severity=2, corruption_name=name)
        assert np.array_equal(corrupted(name, 2, channel_order='rgb'), direct[..., ::-1])
    assert not np.array_equal(corrupted('frost', 2, channel_order='rgb'), corrupted('frost', 2))


def test_a_picture_is_known_wherever_its_data_lies():
    cityscapes = 'leftImg8bit/val/ulm/a_leftImg8bit.png'
    assert picture_identity('/old/leftImg8bit/' + cityscapes) == cityscapes
    assert picture_identity('new/place/' + cityscapes, 'new/place') == cityscapes
    assert (
        picture_identity('/x/rgb_anon_trainvaltest/rgb_anon/fog/val/s/a.png', '/x')
        == 'rgb_anon/fog/val/s/a.png'
    )
    assert picture_identity('/data/ade/images/1.jpg', '/data/ade/') == 'images/1.jpg'
    assert picture_identity('/data/ade/../ade/images/1.jpg', '/data/ade') == 'images/1.jpg'
    assert picture_identity('/elsewhere/1.jpg', '/data/ade') == '/elsewhere/1.jpg'
    here = corrupted('gaussian_noise', path='/data/ade/images/1.jpg', data_root='/data/ade')
    assert np.array_equal(here, corrupted('gaussian_noise', path='/moved/images/1.jpg', data_root='/moved'))
    assert not np.array_equal(
        here, corrupted('gaussian_noise', path='/moved/images/2.jpg', data_root='/moved')
    )


def test_a_float_picture_stays_float():
    whole = corrupted('fog', 2)
    same = corrupted('fog', 2, image=street().astype(np.float32))
    assert same.dtype == np.float32
    assert np.array_equal(same, whole)
    with pytest.raises(ValueError, match='right after loading'):
        corrupted('fog', image=street().astype(np.float32) / 255 - 0.5)


def test_bad_arguments_list_the_valid_ones():
    with pytest.raises(ValueError, match=r"'rust'.*motion_blur.*frost"):
        TRANSFORMS.build(dict(type='CorruptImage', corruption='rust', severity=1))
    for severity in (0, 6, 2.5, True, '3'):
        with pytest.raises(ValueError, match='1, 2, 3, 4, 5'):
            CorruptImage('fog', severity)
    with pytest.raises(ValueError, match='bgr, rgb'):
        CorruptImage('fog', 1, channel_order='grb')
    with pytest.raises(ValueError, match='img_path'):
        CorruptImage('fog', 1)(dict(img=street()))
    with pytest.raises(ValueError, match=r'\(60, 88\).*ulm'):
        corrupted('fog', image=street()[..., 0])
