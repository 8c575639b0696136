"""Masks become classes as one look at each pixel says, however the file is stored; what is in no list is an error."""

import io

import numpy as np
import pytest
from PIL import Image

from mmseg_tapadl.datasets.data_yaml.coding import LabelCoding, MaskError, coding_of, packed, unpacked
from mmseg_tapadl.utils import InputError
from tests.datasets.data_yaml.painted import CLASSES, COLOURS, blocks

NUMBERS = blocks(4, seed=5)
COLOUR_CODING = coding_of({'colors': [[COLOURS[0], COLOURS[1]], [COLOURS[2]]], 'ignore': [COLOURS[3]]})
ID_CODING = coding_of({'ids': [[0, 3], [2]], 'ignore': [1]})
ID_CLASSES = [0, 255, 1, 0]


def stored(image: Image.Image, kind: str = 'PNG', **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def classes_of(coding: LabelCoding, data: bytes) -> np.ndarray:
    return coding.classes_of(coding.stored(data))


def colour_image() -> Image.Image:
    return Image.fromarray(np.array(COLOURS, np.uint8)[NUMBERS])


def by_pixel(numbers: np.ndarray, classes: list[int]) -> np.ndarray:
    """The plain reference: every pixel looked up alone."""
    return np.array([[classes[number] for number in row] for row in numbers], np.uint8)


FILES = [
    *((kind, 'RGB') for kind in ('PNG', 'BMP', 'TIFF', 'PPM')),
    *(('PNG', mode) for mode in ('RGBA', 'P')),
    ('TIFF', 'P'),
]


@pytest.mark.parametrize(('kind', 'mode'), FILES)
def test_colours(kind, mode):
    image = colour_image()
    if mode == 'P':
        image = image.quantize(4)
    if mode == 'RGBA':
        image.putalpha(Image.fromarray(NUMBERS.astype(np.uint8)))
    found = classes_of(COLOUR_CODING, stored(image, kind))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_pixel(NUMBERS, CLASSES))


def test_every_colour_is_its_own():
    """Neighbours in each channel are told apart, over the whole range."""
    values = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (255, 255, 255), (254, 255, 255), (255, 255, 254)]
    assert [unpacked(packed(value)) for value in values] == values
    coding = coding_of({'colors': [[value] for value in values]})
    data = stored(Image.fromarray(np.array([values], np.uint8)))
    np.testing.assert_array_equal(classes_of(coding, data), [range(len(values))])


@pytest.mark.parametrize('form', ['L', 'RGB', 'RGBA', 'LA', 'P', '2 bits', '4 bits'])
def test_ids(form):
    ids = NUMBERS.astype(np.uint8)
    image = Image.fromarray(ids)
    options = {}
    if form in ('RGB', 'RGBA', 'LA'):
        image = image.convert(form)
    elif form != 'L':
        # Files of a palette hold numbers of colours, files of few bits are stretched by decoders.
        image = Image.fromarray(ids, 'P')
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
        options = {'bits': int(form[0])} if 'bits' in form else {}
    data = stored(image, **options)
    np.testing.assert_array_equal(classes_of(ID_CODING, data), by_pixel(NUMBERS, ID_CLASSES))


@pytest.mark.parametrize('bits', [2, 4])
def test_grey_of_few_bits(bits):
    """Written by hand: no library here writes grey PNG of 2 or 4 bits."""
    import struct
    import zlib

    def part(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
        )

    rows = b''.join(
        b'\0' + np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes()
        for row in NUMBERS.astype(np.uint8)
    )
    head = struct.pack('>IIBBBBB', NUMBERS.shape[1], NUMBERS.shape[0], bits, 0, 0, 0, 0)
    data = (
        b'\x89PNG\r\n\x1a\n' + part(b'IHDR', head) + part(b'IDAT', zlib.compress(rows)) + part(b'IEND', b'')
    )
    np.testing.assert_array_equal(classes_of(ID_CODING, data), by_pixel(NUMBERS, ID_CLASSES))


def test_black_and_white_masks():
    image = Image.fromarray(NUMBERS > 1)
    one = classes_of(coding_of({'ids': [[0], [1]]}), stored(image))
    white = classes_of(coding_of({'ids': [[0], [255]]}), stored(image.convert('L')))
    colours = classes_of(coding_of({'colors': [[[0, 0, 0]], [[255, 255, 255]]]}), stored(image))
    for found in (one, white, colours):
        np.testing.assert_array_equal(found, NUMBERS > 1)


def test_what_is_in_no_list_is_told_with_its_pixels():
    pixels = np.array(COLOURS, np.uint8)[NUMBERS]
    pixels[:2, :3], pixels[10, :4] = (1, 2, 3), (9, 8, 7)
    with pytest.raises(
        InputError, match=r'2 colours in 10 pixels are in no list: \[1, 2, 3\] in 6, \[9, 8, 7\] in 4'
    ):
        classes_of(COLOUR_CODING, stored(Image.fromarray(pixels)))
    ids = NUMBERS.astype(np.uint8)
    ids[0, 0] = 255
    with pytest.raises(InputError, match='an id in 1 pixels is in no list: 255 in 1'):
        classes_of(ID_CODING, stored(Image.fromarray(ids)))


def test_masks_of_another_kind():
    deep = stored(Image.fromarray(NUMBERS.astype(np.uint16)))
    for coding in (ID_CODING, COLOUR_CODING):
        with pytest.raises(MaskError, match='16 bits') as told:
            coding.stored(deep)
        assert told.value.kind == 'bits'
    with pytest.raises(MaskError, match='holds colours') as told:
        ID_CODING.stored(stored(colour_image()))
    assert told.value.kind == 'channels'


def test_colours_of_16_bits():
    """Pillow would cut them to 8 without a word."""
    import cv2

    deep = cv2.imencode('.png', np.array(COLOURS, np.uint16)[NUMBERS] * 257)[1].tobytes()
    with pytest.raises(MaskError, match='16 bits'):
        COLOUR_CODING.stored(deep)


def test_equal_codings_share_one_table():
    again = coding_of(
        {'colors': [[list(COLOURS[0]), list(COLOURS[1])], [COLOURS[2]]], 'ignore': [COLOURS[3]]}
    )
    assert again is COLOUR_CODING and again.table.nbytes == 1 << 24
