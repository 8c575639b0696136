"""What a browser sends is a JPEG or a PNG of bounded size, by its content, or is named."""

import io

import numpy as np
import pytest
from PIL import Image

from mmseg_tapadl.explore import uploads
from mmseg_tapadl.explore.uploads import decode_upload
from mmseg_tapadl.utils import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encoded(kind: str, pixels: np.ndarray = PIXELS) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_a_png_comes_back_as_bgr_whatever_its_name():
    assert np.array_equal(decode_upload('street.txt', encoded('PNG')), PIXELS[:, :, ::-1])


@pytest.mark.parametrize('pixels', [PIXELS[:, :, 0], np.dstack((PIXELS, PIXELS[:, :, :1]))])
def test_grey_pictures_and_those_with_opacity_have_three_channels(pixels):
    assert decode_upload('a.png', encoded('PNG', pixels)).shape == (24, 32, 3)


def test_a_jpeg_is_taken():
    assert decode_upload('a.jpg', encoded('JPEG')).shape == (24, 32, 3)


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        (b'', 'no picture'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'no picture'),
        (encoded('BMP'), 'no picture'),
        (encoded('GIF'), 'no picture'),
        (encoded('PNG')[:-600], 'damaged'),
        (encoded('JPEG')[:-200], 'damaged'),
        (encoded('PNG')[:20], 'no picture'),
    ],
)
def test_what_is_no_whole_picture_is_named(content, told):
    with pytest.raises(InputError, match=rf'^night\.png: .*{told}'):
        decode_upload('night.png', content)


def test_size_is_bounded_in_bytes_and_before_decoding_in_pixels(monkeypatch):
    with pytest.raises(InputError, match=r'large\.png: 10000 x 1000 pixels are more than'):
        decode_upload('large.png', encoded('PNG', np.zeros((1000, 10000), dtype=np.uint8)))
    monkeypatch.setattr(uploads, 'MOST_BYTES', 2**20)
    with pytest.raises(InputError, match=r'long\.png: 2\.0 MiB are more than the 1 MiB'):
        decode_upload('long.png', bytes(2**21))
