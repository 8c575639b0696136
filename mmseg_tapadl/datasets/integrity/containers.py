"""Whether the bytes of a picture file are whole: faults that decoders pass over or report without a reason."""

import struct
import zlib

_PNG = b'\x89PNG\r\n\x1a\n'
_LFS = b'version https://git-lfs.github.com/spec'


def container_fault(data: bytes) -> tuple[str, str] | None:
    """Kind and reason when the bytes are no whole picture file: faults that decoders pass over."""
    if not data:
        return 'empty', 'is empty (0 bytes)'
    if data.startswith(_LFS):
        return 'undecodable', 'is a Git LFS pointer, not the file itself (fetch it with: git lfs pull)'
    if data[:512].lstrip().lower().startswith((b'<!doctype', b'<html')):
        return 'undecodable', 'is a web page, probably a failed download'
    if data.startswith(_PNG):
        return _png_fault(data)
    if data.startswith(b'\xff\xd8') and b'\xff\xd9' not in data[-64:]:
        return 'truncated', 'is truncated: the end of the JPEG is missing'
    if not any(data[:4096].strip(b'\0')):
        return 'undecodable', 'holds only zeros where a picture should begin'
    return None


def _png_fault(data: bytes) -> tuple[str, str] | None:
    """Walks the chunks of a PNG: all there, each with its right checksum, the end at the end."""
    position = len(_PNG)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, position)
        end = position + 12 + length
        if end > len(data):
            break
        stored = struct.unpack_from('>I', data, end - 4)[0]
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != stored:
            return (
                'damaged',
                f'is damaged: checksum of its {kind.decode("ascii", "replace")} part at byte {position}',
            )
        if kind == b'IEND':
            return None
        position = end
    return 'truncated', f'is truncated: it ends within a part, after {len(data)} bytes'
