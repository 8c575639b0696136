"""Whether a JPEG holds all of its pixels.

libjpeg fills what is missing with grey and says so on the screen only, and the marker of the end proves nothing:
a thumbnail, a second picture or plain luck may supply one. So the file is read as the decoder reads it, and where
the end of the pixel data is in doubt the decoder is asked: bytes put behind data that are complete change nothing.
"""

import re
import struct

import cv2
import numpy as np

_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# Pixel data hold 0xFF only before 0 (a stuffed byte) or a restart marker.
_AFTER_PIXELS = re.compile(rb'\xff+[^\x00\xff\xd0-\xd7]')
# The grey that stands for what is missing
_FILL = 128
# Colours are interpolated between blocks.
_NEARLY = 3
# Any bytes but 0xFF: what a decoder short of data would take for pixels
_PADDING = np.random.default_rng(1).integers(0, 255, 256, dtype=np.uint8).tobytes()


def jpeg_is_cut_off(data: bytes, decoded: np.ndarray | None = None) -> bool:
    """Whether pixels are missing from a JPEG; its first picture alone counts, and nothing behind its end.

    Args:
        data: A file that begins as a JPEG.
        decoded: Its pixels, (H, W) or (H, W, 3) of values from 0 to 255, turned or not, where they are known: saves time.
    """
    frame, scans, ended = _read_markers(data)
    if not ended:
        return True
    if not frame or not scans:
        return False  # no pixel data before the end: the decoder will refuse it
    if frame[0] in _PROGRESSIVE and not _refined(frame[1], scans):
        return True
    ends = [end for _, end in scans]
    if len(scans) == 1 and len(frame[1]) in (1, 3):
        if decoded is None:
            decoded = _decoded(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
        if decoded is None or not _has_grey_corner(decoded):
            return False
    return _reads_on(data, ends)


def _read_markers(data: bytes) -> tuple[tuple[int, tuple[int, ...]] | None, list[tuple[bytes, int]], bool]:
    """The frame (marker, ids of components), the scans (header, end of their pixel data), and whether it ends."""
    frame: tuple[int, tuple[int, ...]] | None = None
    scans: list[tuple[bytes, int]] = []
    position = 2
    while True:
        start = data.find(b'\xff', position)
        while 0 <= start < len(data) - 1 and data[start + 1] == 0xFF:
            start += 1
        if start < 0 or start + 1 >= len(data):
            return frame, scans, False
        marker, position = data[start + 1], start + 2
        if marker == _END_OF_IMAGE:
            return frame, scans, True
        if marker == 0 or marker in _WITHOUT_LENGTH:
            continue
        if position + 2 > len(data):
            return frame, scans, False
        length = struct.unpack_from('>H', data, position)[0]
        content, position = data[position + 2 : position + length], position + length
        if marker in _START_OF_FRAME and len(content) > 5 and frame is None:
            frame = marker, tuple(content[6::3][: content[5]])
        elif marker == _START_OF_SCAN:
            behind = _AFTER_PIXELS.search(data, position)
            if behind is None:
                return frame, scans, False
            position = behind.start()
            scans.append((content, position))


def _refined(components: tuple[int, ...], scans: list[tuple[bytes, int]]) -> bool:
    """Whether the scans of a progressive JPEG bring the mean colour of each component to its last bit."""
    # What detail a writer leaves away is its choice; a picture without its means is cut.
    final: set[int] = set()
    for header, _ in scans:
        count = header[0] if header else 0
        if len(header) < 4 + 2 * count:
            return False
        first, precision = header[1 + 2 * count], header[3 + 2 * count] & 15
        if first == 0 and precision == 0:
            final.update(header[1 : 1 + 2 * count : 2])
    return final >= set(components)


def _has_grey_corner(pixels: np.ndarray) -> bool:
    """Whether a corner may be filling: pixels are stored row by row, and any corner may be the last in a turned picture."""
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]].reshape(4, -1).astype(np.float32)
    return bool((np.abs(corners - _FILL) <= _NEARLY).all(axis=1).any())


def _reads_on(data: bytes, ends: list[int]) -> bool:
    """Whether bytes behind the pixel data change the picture, which they do only where pixels are missing."""
    padded, position = b'', 0
    for end in ends:
        padded += data[position:end] + _PADDING
        position = end
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    plain, longer = _decoded(data, flags), _decoded(padded + data[position:], flags)
    if plain is None or longer is None:
        return False  # refused is refused, and told by the loader
    return not np.array_equal(plain, longer)


def _decoded(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
