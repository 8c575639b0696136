"""Whether the bytes of a picture file are whole, judged by what the decoders would fill."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg_tapadl.datasets.integrity.containers import PNG, container_fault, png_parts

PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def png(
    rows: bytes, width: int, height: int, *, depth: int = 8, colour: int = 0, interlaced: int = 0
) -> bytes:
    """A PNG with right checksums around any rows, in three parts of pixel data."""
    packed = zlib.compress(rows)
    parts = [packed[:7], packed[7:11], packed[11:]]
    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, interlaced)
    palette = chunk(b'PLTE', bytes(range(6))) if colour == 3 else b''
    pixels = b''.join(chunk(b'IDAT', part) for part in parts)
    return PNG + chunk(b'IHDR', header) + palette + pixels + chunk(b'IEND', b'')


@pytest.mark.parametrize('size', [(1, 1), (5, 3), (33, 17)])
@pytest.mark.parametrize(
    ('depth', 'colour', 'bits'), [(8, 0, 8), (1, 3, 1), (4, 0, 4), (16, 2, 48), (8, 6, 32), (16, 4, 32)]
)
@pytest.mark.parametrize('interlaced', [0, 1])
def test_png_with_rows_left_out(tmp_path, size, depth, colour, bits, interlaced):
    width, height = size
    rows = b''
    for left, top, step, drop in PASSES if interlaced else [(0, 0, 1, 1)]:
        columns, lines = len(range(left, width, step)), len(range(top, height, drop))
        rows += lines * bytes(1 + (columns * bits + 7) // 8) if columns else b''
    options = dict(depth=depth, colour=colour, interlaced=interlaced)
    whole = png(rows, width, height, **options)
    (tmp_path / 'whole.png').write_bytes(whole)
    assert Image.open(tmp_path / 'whole.png').convert('RGB').size == size
    assert container_fault(whole) is None
    # More than the rows, and whatever behind the end, is no fault.
    assert container_fault(png(rows + b'more', width, height, **options) + b'behind') is None
    for lacking in (rows[:-1], rows[: len(rows) // 2]):
        kind, text = container_fault(png(lacking, width, height, **options))
        assert kind == 'truncated' and f'take {len(rows)} bytes, and {len(lacking)} are there' in text


def test_png_of_other_writers(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    for data in (
        cv2.imencode('.png', pixels)[1].tobytes(),
        cv2.imencode('.png', (pixels[..., 0] > 9).astype(np.uint8))[1].tobytes(),
    ):
        assert container_fault(data) is None
    Image.fromarray(pixels).quantize(16).save(tmp_path / 'p.png', bits=4)
    data = (tmp_path / 'p.png').read_bytes()
    assert container_fault(data) is None and len(list(png_parts(data))) > 3
