"""Whether the bytes of a picture file are whole: what decoders pass over, or refuse without a reason."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmseg_tapadl.datasets.integrity.jpeg import jpeg_is_cut_off

PNG = b'\x89PNG\r\n\x1a\n'
JPEG = b'\xff\xd8\xff'
_LFS = b'version https://git-lfs.github.com/spec'
_DECIDES_PIXELS = (b'IHDR', b'PLTE', b'tRNS', b'IDAT', b'IEND')

# Channels by colour type; first column, first row, column step and row step of the passes of an interlaced PNG (Adam7).
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
_AT_ONCE = 1 << 20


class PngPart(NamedTuple):
    """A chunk of a PNG: its kind, where it begins, what its checksum covers (kind and content), the stored checksum."""

    kind: bytes
    position: int
    covered: memoryview
    checksum: bytes

    @property
    def content(self) -> bytes:
        """What it holds."""
        return bytes(self.covered[4:])

    @property
    def is_right(self) -> bool:
        """Whether the checksum is that of the content."""
        return zlib.crc32(self.covered).to_bytes(4, 'big') == self.checksum


def container_fault(data: bytes) -> tuple[str, str] | None:
    """Kind and reason when the bytes are no whole picture file."""
    return not_a_picture(data) or cut_off(data)


def not_a_picture(data: bytes) -> tuple[str, str] | None:
    """Kind and reason for what often stands in a picture's place."""
    if not data:
        return 'empty', 'is empty (0 bytes)'
    if data.startswith(_LFS):
        return 'undecodable', 'is a Git LFS pointer, not the file itself (fetch it with: git lfs pull)'
    if data[:512].lstrip().lower().startswith((b'<!doctype', b'<html')):
        return 'undecodable', 'is a web page, probably a failed download'
    if not any(data[:4096].strip(b'\0')):
        return 'undecodable', 'holds only zeros where a picture should begin'
    return None


def cut_off(data: bytes, decoded: np.ndarray | None = None) -> tuple[str, str] | None:
    """Kind and reason when a PNG or JPEG lacks a part or holds a damaged one; decoders fill such with grey or black.

    What stands behind the end is no fault, and what is no PNG or JPEG is not judged.

    Args:
        data: The file's bytes.
        decoded: Its pixels as plain loading gives them, where they are known: saves time.
    """
    if data.startswith(PNG):
        return _png_fault(data)
    if data.startswith(JPEG) and jpeg_is_cut_off(data, decoded):
        return 'truncated', 'is truncated: the JPEG ends before its last pixels'
    return None


def png_parts(data: bytes) -> Iterator[PngPart]:
    """The chunks of a PNG up to its end, or up to the first that is not there in full."""
    position, view = len(PNG), memoryview(data)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, position)
        end = position + 12 + length
        if end > len(data):
            return
        yield PngPart(kind, position, view[position + 4 : end - 4], data[end - 4 : end])
        if kind == b'IEND':
            return
        position = end


def _png_fault(data: bytes) -> tuple[str, str] | None:
    """All parts there, those that decide pixels with their right checksums, all rows, the end at the end."""
    last = b''
    parts = list(png_parts(data))
    for part in parts:
        last = part.kind
        if last in _DECIDES_PIXELS and not part.is_right:
            return (
                'damaged',
                f'is damaged: checksum of its {last.decode("ascii")} part at byte {part.position}',
            )
    if last != b'IEND':
        return 'truncated', f'is truncated: it ends within a part, after {len(data)} bytes'
    if parts[0].kind == b'IHDR' and len(parts[0].content) == 13:
        wanted = _png_size(parts[0].content)
        found = _unpacked([part.covered[4:] for part in parts if part.kind == b'IDAT'], wanted)
        if found < wanted:
            return 'truncated', f'is truncated: its rows take {wanted} bytes, and {found} are there'
    return None


def _png_size(header: bytes) -> int:
    """The bytes of all rows before they are packed, each with the byte that names its filter."""
    width, height, depth, colour, _, _, interlaced = struct.unpack('>IIBBBBB', header)
    bits = depth * _CHANNELS.get(colour, 0)
    size = 0
    for left, top, step, drop in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // step), -(-(height - top) // drop)
        if columns > 0 and rows > 0 and bits:
            size += rows * (1 + (columns * bits + 7) // 8)
    return size


def _unpacked(contents: list[memoryview], wanted: int) -> int:
    """How many bytes the packed pixels make, at most ``wanted``; what stands behind them is not looked at."""
    unpacker, size = zlib.decompressobj(), 0
    try:
        for content in contents:
            packed: bytes | memoryview = content
            while size < wanted and packed and not unpacker.eof:
                size += len(unpacker.decompress(packed, min(wanted - size, _AT_ONCE)))
                packed = unpacker.unconsumed_tail
        while size < wanted and not unpacker.eof and (rest := unpacker.decompress(b'', _AT_ONCE)):
            size += len(rest)
    except zlib.error:
        pass  # decoders keep the rows before it
    return min(size, wanted)
