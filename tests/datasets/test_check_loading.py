"""The data check judges files as the config's own loading meets them."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
import tifffile
from mmcv.transforms import BaseTransform
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmseg_tapadl.datasets.integrity import check_dataset
from mmseg_tapadl.datasets.transforms import LoadDeepImageFromFile
from mmseg_tapadl.utils import InputError
from tests.datasets.own_set import SIZE, check_own, make_own_set, own_config, rewrite, told


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))


@TRANSFORMS.register_module()
class ReadRawPicture(BaseTransform):
    """A person's own format: two sizes, then bytes."""

    def transform(self, results):
        data = Path(results['img_path']).read_bytes()
        height, width = struct.unpack('>II', data[:8])
        results['img'] = np.frombuffer(data[8:], np.uint8).reshape(height, width, 3)
        return results


@TRANSFORMS.register_module()
class ReadRawLabel(BaseTransform):
    """Labels as text, which maps ids itself."""

    def transform(self, results):
        results['gt_seg_map'] = np.loadtxt(results['seg_map_path'], dtype=np.uint8, ndmin=2) // 10
        return results


def jpeg(width: int = 200, height: int = 120, **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format='JPEG', **options)
    return buffer.getvalue()


def test_a_format_that_only_the_configs_loader_knows_is_checked_by_it(tmp_path):
    make_own_set(tmp_path)
    width, height = SIZE
    for path in sorted((tmp_path / 'images').iterdir()):
        bands = np.zeros((height, width, 5), np.uint8)
        tifffile.imwrite(path.with_suffix('.tif'), bands, photometric='minisblack', planarconfig='contig')
    bands = dict(image=dict(type='LoadImageFromFile', imdecode_backend='tifffile'))
    report = check_own(tmp_path, '.tif', **bands)
    assert report.ok and report.sizes.keys() == {SIZE}
    # What the loader refuses stays a fault, and with another loader the same files are.
    rewrite(tmp_path / 'images/p00.tif', lambda data: data[: len(data) // 2])
    assert told(check_own(tmp_path, '.tif', **bands)) == [('image_undecodable', 'p00.tif')]
    assert [kind for kind, _ in told(check_own(tmp_path, '.tif'))] == ['image_undecodable'] * 2


def test_loaders_of_the_users_own_are_asked_too(tmp_path):
    make_own_set(tmp_path)
    width, height = SIZE
    for name in ('p00', 'p01'):
        (tmp_path / f'images/{name}.raw').write_bytes(
            struct.pack('>II', height, width) + bytes(height * width * 3)
        )
        np.savetxt(tmp_path / f'labels/{name}.txt', np.full((height, width), 10), fmt='%d')
    own = dict(
        image=dict(type='ReadRawPicture'),
        label=dict(type='ReadRawLabel'),
        seg_map_suffix='.txt',
        ignore_index=9,
    )
    report = check_own(tmp_path, '.raw', **own)
    assert report.ok and report.pixels == [0, 2 * width * height, 0] and report.cached == 0
    rewrite(tmp_path / 'images/p01.raw', lambda data: data[:-5])
    (tmp_path / 'labels/p00.txt').write_text('10 250\n')
    assert told(check_own(tmp_path, '.raw', **own)) == [
        ('image_undecodable', 'p01.raw'),
        ('label_ids', 'p00.txt'),
        ('label_size', 'p00.txt'),
    ]


def test_where_the_loader_cannot_run_pairs_and_labels_are_checked_all_the_same(tmp_path):
    make_own_set(tmp_path)
    (tmp_path / 'labels/p00.png').unlink()
    Image.new('L', SIZE, 7).save(tmp_path / 'labels/p01.png')
    # GDAL is not installed here.
    report = check_own(tmp_path, image=dict(type='LoadSingleRSImageFromFile'))
    assert told(report) == [('label_ids', 'p01.png'), ('label_missing', 'p00.png')]
    assert any('2 pictures not checked' in note and 'gdal' in note for note in report.warnings)

    class NeedsMore(BaseTransform):
        def transform(self, results):
            raise ImportError('no module named lidar')

    dataset = DATASETS.build({**own_config(tmp_path), 'pipeline': [], 'lazy_init': True})
    dataset.pipeline.transforms = [NeedsMore(), TRANSFORMS.build(dict(type='LoadAnnotations'))]
    report = check_dataset(dataset, split='train', progress=False)
    assert told(report) == [('label_ids', 'p01.png'), ('label_missing', 'p00.png')]
    assert any(
        '2 pictures not checked' in note and 'no module named lidar' in note for note in report.warnings
    )


def test_limits_of_size_are_named_as_such_with_the_way_to_raise_them(tmp_path, monkeypatch):
    make_own_set(tmp_path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    faults = check_own(tmp_path).faults
    # The pictures are read with OpenCV, whose limit is another.
    assert [fault.kind for fault in faults] == ['label_too_large'] * 2
    assert all(
        "imdecode_backend='cv2'" in fault.hint and 'MAX_IMAGE_PIXELS' in fault.hint for fault in faults
    )
    assert check_own(tmp_path, label=dict(type='LoadAnnotations', imdecode_backend='cv2')).ok


@pytest.mark.parametrize('behind', [b'\0' * 500, b'more text', b'\xff\xd8\xff\xe0 half a JPEG', b'\x89PNG'])
def test_what_stands_behind_the_end_of_a_file_is_no_fault(tmp_path, behind):
    make_own_set(tmp_path, ('a', 'b'))
    make_own_set(tmp_path / 'jpegs', ('a',), '.jpg')
    for path in (*tmp_path.rglob('*.png'), *tmp_path.rglob('*.jpg')):
        rewrite(path, lambda data: data + behind)
    assert check_own(tmp_path).ok and check_own(tmp_path / 'jpegs', '.jpg').ok


@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'quality': 95}, {'restart_marker_rows': 1}])
@pytest.mark.parametrize('behind', [b'\xff\xd9', b'', b'\0\0\xff\xd9', b'\xff\xd9' + bytes(100)])
def test_a_jpeg_cut_in_the_middle_is_truncated_however_it_ends(tmp_path, options, behind):
    make_own_set(tmp_path, ('a',), '.jpg')
    Image.new('L', (200, 120), 1).save(tmp_path / 'labels/a.png')
    whole = jpeg(**options)
    for cut in (0.3, 0.6, 0.95):
        (tmp_path / 'images/a.jpg').write_bytes(whole[: int(len(whole) * cut)] + behind)
        assert told(check_own(tmp_path, '.jpg')) == [('image_truncated', 'a.jpg')], cut
    (tmp_path / 'images/a.jpg').write_bytes(whole + behind)
    assert check_own(tmp_path, '.jpg').ok


@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_cut_jpeg_is_found_however_it_is_turned(tmp_path, orientation):
    make_own_set(tmp_path, ('a',), '.jpg')
    exif = Image.Exif()
    exif[0x0112] = orientation
    whole = jpeg(exif=exif.tobytes())
    (tmp_path / 'images/a.jpg').write_bytes(whole[: len(whole) // 2] + b'\xff\xd9')
    assert told(check_own(tmp_path, '.jpg')) == [('image_truncated', 'a.jpg')]


def test_a_thumbnails_end_is_not_the_pictures_end(tmp_path):
    make_own_set(tmp_path, ('a',), '.jpg')
    Image.new('L', (200, 120), 1).save(tmp_path / 'labels/a.png')
    small, large = jpeg(16, 16), jpeg()
    # An application segment that holds a whole small JPEG, and nothing after it but half a picture
    segment = b'\xff\xe2' + struct.pack('>H', len(small) + 2) + small
    with_thumbnail = large[:2] + segment + large[2:]
    (tmp_path / 'images/a.jpg').write_bytes(with_thumbnail)
    assert check_own(tmp_path, '.jpg').ok
    (tmp_path / 'images/a.jpg').write_bytes(with_thumbnail[: len(segment) + 700])
    assert told(check_own(tmp_path, '.jpg')) == [('image_truncated', 'a.jpg')]


@pytest.mark.parametrize('grey', [0, 127, 128, 129, 255])
@pytest.mark.parametrize('size', [(1, 1), (17, 9), (64, 64)])
def test_even_jpegs_are_whole(tmp_path, grey, size):
    make_own_set(tmp_path, ('a', 'b'), '.jpg')
    for name, progressive in (('a', False), ('b', True)):
        Image.new('RGB', size, (grey,) * 3).save(tmp_path / f'images/{name}.jpg', progressive=progressive)
        Image.new('L', size, 1).save(tmp_path / f'labels/{name}.png')
    assert not [fault for fault in check_own(tmp_path, '.jpg').faults if fault.path.endswith('jpg')]


def png_with(data: bytes, kind: bytes, content: bytes, *, right: bool = True) -> bytes:
    """A PNG with one more part behind its head."""
    checksum = zlib.crc32(kind + content) ^ (0 if right else 1)
    return (
        data[:33] + struct.pack('>I', len(content)) + kind + content + struct.pack('>I', checksum) + data[33:]
    )


def without_pixels(data: bytes) -> bytes:
    """A PNG whose parts are all whole and that ends well, without its pixels."""
    at = data.index(b'IDAT') - 4
    length = struct.unpack_from('>I', data, at)[0]
    return data[:at] + data[at + 12 + length :]


def test_a_wrong_checksum_counts_where_it_decides_pixels_or_the_loader_refuses(tmp_path):
    make_own_set(tmp_path)
    for path in tmp_path.rglob('p00.png'):
        rewrite(path, lambda data: png_with(data, b'tEXt', b'a\0b', right=False))
    # OpenCV passes over the comment, Pillow does not load such a file.
    assert told(check_own(tmp_path)) == [('label_undecodable', 'p00.png')]
    rewrite(tmp_path / 'images/p01.png', without_pixels)
    assert ('image_truncated', 'p01.png') in told(check_own(tmp_path))


# -- turned pictures --------------------------------------------------------------------------------------------------


def turned_file(path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    tiff = {'tiffinfo': {0x0112: orientation}} if path.suffix == '.tif' else {'exif': exif.tobytes()}
    Image.fromarray(pixels).save(path, **tiff)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
@pytest.mark.parametrize('orientation', range(2, 9))
def test_pictures_that_the_loader_turns_are_noted(tmp_path, suffix, orientation):
    make_own_set(tmp_path, ('a', 'b'), suffix)
    turned_file(tmp_path / f'images/a{suffix}', orientation)
    report = check_own(tmp_path, suffix)
    loaded = mmcv.imread(str(tmp_path / f'images/a{suffix}')).shape[:2][::-1]
    assert loaded in report.sizes
    sides = [] if loaded == SIZE else [('label_size', 'a.png')]
    assert told(report) == sides and all('turned on loading' in fault.hint for fault in report.faults)
    [note] = [note for note in report.warnings if 'turned' in note]
    assert note.startswith('1 pictures are turned') and f'({orientation} of' in note.replace('such as ', '')


def test_pictures_that_the_loader_leaves_are_not_noted(tmp_path):
    make_own_set(tmp_path, ('a',), '.jpg')
    turned_file(tmp_path / 'images/a.jpg', 6)
    plain = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
    report = check_own(tmp_path, '.jpg', image=plain)
    assert report.ok and not [note for note in report.warnings if 'turned' in note]


def test_labels_that_say_how_to_turn_them_are_noted(tmp_path):
    make_own_set(tmp_path, ('a',))
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(tmp_path / 'labels/a.png').save(tmp_path / 'labels/a.png', exif=exif.tobytes())
    report = check_own(tmp_path)
    assert report.ok
    assert any(
        '1 labels carry an EXIF orientation, which loading them does not heed' in n for n in report.warnings
    )
    # A TIFF is turned by every decoder.
    ids = Image.open(tmp_path / 'labels/a.png')
    ids.save(tmp_path / 'labels/a.tif', tiffinfo={0x0112: 3})
    report = check_own(tmp_path, seg_map_suffix='.tif')
    assert report.ok and any('which loading them heeds' in note for note in report.warnings)


# -- pictures of more than 8 bits -------------------------------------------------------------------------------------


def deepen(path, most: int) -> np.ndarray:
    """Makes a picture one of 16 bits with values up to ``most``."""
    values = cv2.imread(str(path)).astype(np.float64) * (most / 255)
    deep = np.rint(values).astype(np.uint16)
    deep[0, 0] = most
    assert cv2.imwrite(str(path), deep)
    return deep


def test_twelve_bits_loaded_as_black_are_a_fault_with_the_way_to_scale_them(tmp_path):
    make_own_set(tmp_path)
    stored = {name: deepen(tmp_path / f'images/{name}.png', 4095) for name in ('p00', 'p01')}
    report = check_own(tmp_path)
    assert told(report) == [('image_bits', 'p00.png'), ('image_bits', 'p01.png')]
    fault = report.faults[0]
    for words in ('16 bits', 'up to 4095', '0..15'):
        assert words in fault.detail
    assert "dict(type='LoadDeepImageFromFile', max_value=4095)" in fault.hint
    scaled = dict(type='LoadDeepImageFromFile', max_value=4095)
    assert check_own(tmp_path, image=scaled).ok
    # And it does scale, to the nearest of 256 values.
    loaded = TRANSFORMS.build(scaled)(dict(img_path=str(tmp_path / 'images/p00.png')))['img']
    np.testing.assert_array_equal(loaded, np.rint(stored['p00'] / 4095 * 255).astype(np.uint8))
    # A scale that does not fit is told as well.
    assert [fault.kind for fault in check_own(tmp_path, image={**scaled, 'max_value': 1023}).faults] == [
        'image_bits'
    ] * 2
    assert [f.kind for f in check_own(tmp_path, image={**scaled, 'max_value': 65535}).faults] == [
        'image_bits'
    ] * 2


@pytest.mark.parametrize(
    'options',
    [
        dict(color_type='unchanged'),
        dict(color_type='unchanged', to_float32=True),
        dict(imdecode_backend='tifffile'),
    ],
)
def test_pictures_that_are_loaded_in_their_own_depth_are_the_configs_business(tmp_path, options):
    make_own_set(tmp_path, ('a',), '.tif')
    values = np.full((SIZE[1], SIZE[0], 3), 4095, np.uint16)
    tifffile.imwrite(tmp_path / 'images/a.tif', values, photometric='rgb')
    assert told(check_own(tmp_path, '.tif')) == [('image_bits', 'a.tif')]
    report = check_own(tmp_path, '.tif', image=dict(type='LoadImageFromFile', **options))
    assert report.ok and len(report.warnings) == 0


def test_sixteen_full_bits_are_a_note(tmp_path):
    make_own_set(tmp_path)
    deepen(tmp_path / 'images/p00.png', 65535)
    report = check_own(tmp_path)
    assert report.ok and any('16 bits a channel' in note and '65535' in note for note in report.warnings)


@pytest.mark.parametrize(('most', 'max_value'), [(1.0, '1'), (3000.0, '4095')])
def test_float_pictures_are_refused_or_scaled(tmp_path, most, max_value):
    make_own_set(tmp_path, ('a',), '.tif')
    values = np.linspace(0, most, SIZE[0] * SIZE[1] * 3, dtype=np.float32).reshape(SIZE[1], SIZE[0], 3)
    tifffile.imwrite(tmp_path / 'images/a.tif', values, photometric='rgb')
    [fault] = check_own(tmp_path, '.tif').faults
    assert (
        fault.kind == 'image_bits'
        and '32-bit float' in fault.detail
        and f'max_value={max_value})' in fault.hint
    )
    scaled = dict(type='LoadDeepImageFromFile', max_value=most)
    assert check_own(tmp_path, '.tif', image=scaled).ok
    loader = LoadDeepImageFromFile(max_value=most, to_float32=True)
    image = loader(dict(img_path=str(tmp_path / 'images/a.tif')))['img']
    np.testing.assert_allclose(image[..., ::-1], values * (255 / most), rtol=1e-5)


def test_the_deep_loader_takes_8_bits_as_they_are_and_names_what_it_cannot_read(tmp_path):
    make_own_set(tmp_path, ('a',))
    loader = LoadDeepImageFromFile(max_value=4095)
    plain = TRANSFORMS.build(dict(type='LoadImageFromFile'))
    entry = dict(img_path=str(tmp_path / 'images/a.png'))
    np.testing.assert_array_equal(loader(dict(entry))['img'], plain(dict(entry))['img'])
    grey = np.full((4, 6), 2048, np.uint16)
    cv2.imwrite(str(tmp_path / 'grey.png'), grey)
    image = loader(dict(img_path=str(tmp_path / 'grey.png')))['img']
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8 and (image == 128).all()
    (tmp_path / 'text.png').write_text('no picture')
    with pytest.raises(InputError, match=r'text\.png'):
        loader(dict(img_path=str(tmp_path / 'text.png')))
    with pytest.raises(InputError, match='above min_value'):
        LoadDeepImageFromFile(max_value=0)


# -- ids --------------------------------------------------------------------------------------------------------------


def test_the_id_behind_the_last_class_may_be_void(tmp_path):
    make_own_set(tmp_path, ('a', 'b'))
    for path in (tmp_path / 'labels').iterdir():
        ids = np.array(Image.open(path))
        Image.fromarray(np.where(ids == 255, 3, ids).astype(np.uint8)).save(path)
    # One label alone may not show class 0.
    ids = np.array(Image.open(tmp_path / 'labels/a.png'))
    Image.fromarray(np.where(ids == 0, 1, ids).astype(np.uint8)).save(tmp_path / 'labels/a.png')
    for fault in check_own(tmp_path).faults:
        assert fault.kind == 'label_ids' and 'if it marks void, set ignore_index=3' in fault.hint
        assert 'subtract 1' not in fault.hint
    assert check_own(tmp_path, ignore_index=3).ok
    # With void at 3, 255 is a wrong id: the loss would fail on it.
    Image.new('L', SIZE, 255).save(tmp_path / 'labels/b.png')
    [fault] = check_own(tmp_path, ignore_index=3).faults
    assert fault.kind == 'label_ids' and 'ignore_index=255' in fault.hint


def test_a_folder_in_a_files_place_is_told(tmp_path):
    make_own_set(tmp_path)
    (tmp_path / 'labels/p00.png').unlink()
    (tmp_path / 'labels/p00.png').mkdir()
    for label in (dict(type='LoadAnnotations'), dict(type='Resize', scale=SIZE)):
        assert ('label_undecodable', 'p00.png') in told(check_own(tmp_path, label=label))


def test_a_palette_that_opencv_expands_is_told_with_the_loader_that_reads_it(tmp_path):
    make_own_set(tmp_path, ('a',))
    palette = Image.open(tmp_path / 'labels/a.png').convert('P')
    palette.putpalette([i for i in range(256) for _ in range(3)])
    palette.save(tmp_path / 'labels/a.png')
    [fault] = check_own(tmp_path, label=dict(type='LoadAnnotations', imdecode_backend='cv2')).faults
    assert fault.kind == 'label_channels' and "imdecode_backend='pillow'" in fault.hint
    assert check_own(tmp_path).ok
