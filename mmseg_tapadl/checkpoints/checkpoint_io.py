"""The one door through which checkpoints come in and go out.

Reading never runs anything: formats are told by content, names in pickles are checked before they are
looked up, ``torch.load(weights_only=True)`` does the rest and nothing falls back to a looser reader.
Config text inside a file is dropped, because parts of the stack would run it as Python.

Writing goes to a temporary file that takes the name when it is whole and on disk. A SHA-256 digest
travels inside the file (in the comment that ends every ZIP archive, in the metadata of safetensors),
so that it survives a copy, and there is no moment with a file but no digest.
"""

import hashlib
import io
import json
import os
import re
import shutil
import stat
import struct
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mmseg_tapadl.checkpoints.checkpoint_guards import (
    CheckpointError,
    allowed_globals,
    check_legacy,
    check_safetensors_header,
    check_zip,
    kind_of,
)
from mmseg_tapadl.checkpoints.plain_data import from_file, to_plain
from mmseg_tapadl.utils import atomic_write, sha256_of
from mmseg_tapadl.utils.errors import NO_ROOM, DiskFullError

__all__ = [
    'CheckpointError',
    'DiskFullError',
    'check_whole',
    'read_checkpoint',
    'write_bytes',
    'write_checkpoint',
]

_TAG = b'sha256:'
_COMMENT_BYTES = len(_TAG) + 64
_HEADER_KEY = 'sha256'
_BLANK = '0' * 64
_CHUNK = 1 << 20


def read_checkpoint(path: str | os.PathLike, *, map_location: Any = 'cpu', trust: bool = False) -> dict:
    """Reads a checkpoint as data.

    Args:
        path: A ``.pth`` file (of this toolkit, mmengine, timm, plain PyTorch) or a ``.safetensors`` file;
            the format is told by the content. Symbolic links are followed to ordinary files only.
        map_location: Where tensors go, as for :func:`torch.load`.
        trust: Read a file that is a program by running it, with all your rights. For old files whose
            origin you know; nothing in this package sets it by itself.

    Returns:
        What the file holds, a dict; for ``.safetensors`` ``{'state_dict': ..., 'meta': ...}``. Texts of
        configs (``meta['config']``, ``meta['cfg']``) are left out: nothing may run them.

    Raises:
        CheckpointError: Naming the file and the reason: missing, empty, cut short, another digest than
            when written, a program, a bomb, not a checkpoint.
    """
    name = os.fspath(path)
    with _open_ordinary(name) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            checkpoint = _read(file, name, size, map_location, trust)
            if not trust:
                checkpoint = from_file(checkpoint, name, limit=64 * size + (1 << 20))
        except MemoryError:
            raise CheckpointError(f'{name}: refused, it asks for more memory than there is') from None
        except RecursionError:
            raise CheckpointError(f'{name}: refused, nested too deeply') from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{name}: not a checkpoint: it holds a {type(checkpoint).__name__}, not a dict of weights'
        )
    _drop_config_text(checkpoint)
    return checkpoint


def check_whole(path: str | os.PathLike) -> None:
    """Checks that every byte of a checkpoint is as it was written, without loading it.

    Raises:
        CheckpointError: Naming the file and what is wrong with it.
    """
    name = os.fspath(path)
    with _open_ordinary(name) as file:
        _check_bytes(file, name, os.fstat(file.fileno()).st_size, trust=False)


def write_checkpoint(checkpoint: dict, path: str | os.PathLike) -> None:
    """Writes a checkpoint whole or not at all, as plain data with its digest inside.

    Args:
        checkpoint: Any dict of tensors, numbers, strings and containers; numpy values are converted.
            For a ``.safetensors`` path: ``state_dict`` (or bare weights) and an optional ``meta``.
        path: Where to; a file that stands there is replaced only when the new one is on disk.

    Raises:
        CheckpointError: Naming what is not plain data.
        DiskFullError: With the path, the bytes needed and those free; the old file is untouched.
    """
    plain = to_plain(checkpoint)
    if Path(path).suffix == '.safetensors':
        data = _safetensors_bytes(plain)
    else:
        buffer = io.BytesIO()
        torch.save(plain, buffer)
        data = buffer.getvalue()
    write_bytes(data, path)


def write_bytes(data: bytes, path: str | os.PathLike) -> None:
    """Writes a file whole or not at all; an archive of :func:`torch.save` gets its digest.

    Raises:
        DiskFullError: With the path, the bytes needed and those free.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    comment = _zip_comment(data)
    needed = len(data) + len(comment)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise DiskFullError(_disk_full_text(path, needed, free))
    try:
        with atomic_write(path) as file:
            # The last two bytes of an archive say how long its comment is.
            file.write(memoryview(data)[:-2] if comment else data)
            if comment:
                file.write(struct.pack('<H', len(comment)) + comment)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DiskFullError(_disk_full_text(path, needed, shutil.disk_usage(path.parent).free)) from None


def _disk_full_text(path: Path, needed: int, free: int) -> str:
    return (
        f'{path}: the disk is full: {needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free; '
        'what was saved before is untouched. Free some space, or set another --work-dir.'
    )


def _zip_comment(data: bytes) -> bytes:
    """The digest to append to an archive without a comment; empty for anything else."""
    if not data.startswith(b'PK\x03\x04') or data[-22:-18] != b'PK\x05\x06':
        return b''
    return _TAG + hashlib.sha256(data).hexdigest().encode()


def _open_ordinary(name: str) -> BinaryIO:
    """Opens a regular file; devices and pipes, also behind links, would never end."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        reason = 'a symbolic link to nowhere' if os.path.islink(name) else 'no such file'
        if '://' in name:
            reason = 'an address, not a file: download it and name the file by its path'
        raise CheckpointError(f'{name}: {reason}') from None
    except OSError as error:
        raise CheckpointError(f'{name}: cannot be read: {error.strerror}') from None
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointError(f'{name}: a folder, not a checkpoint; give the file inside it')
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f'{name}: refused, not an ordinary file (a device or a pipe)')
    if status.st_size == 0:
        raise CheckpointError(f'{name}: empty (0 bytes)')
    try:
        return open(name, 'rb')
    except OSError as error:
        raise CheckpointError(f'{name}: cannot be read: {error.strerror}') from None


def _check_bytes(file: BinaryIO, name: str, size: int, trust: bool) -> str:
    """Checks digest and structure; returns the format's name."""
    kind = kind_of(file.read(16))
    file.seek(0)
    beside = Path(f'{name}.sha256')
    if beside.is_file():
        expected = beside.read_text().split()[:1]
        if expected != [sha256_of(name)]:
            raise CheckpointError(f'{name}: damaged: its SHA-256 is not the one in {beside.name}')
    if kind == 'zip':
        if not _zip_digest_matches(file, name, size):
            _check_crcs(file, name, size, trust)
        elif not trust:
            check_zip(file, name, size)
    elif kind == 'legacy' and not trust:
        check_legacy(file, name)
    elif kind == 'safetensors':
        header = check_safetensors_header(file, name, size)
        _check_safetensors_digest(file, name, header)
    elif kind == 'unknown':
        raise CheckpointError(
            f'{name}: not a checkpoint (its first bytes are neither those of a .pth nor of a .safetensors file)'
        )
    file.seek(0)
    return kind


def _read(file: BinaryIO, name: str, size: int, map_location: Any, trust: bool) -> Any:
    kind = _check_bytes(file, name, size, trust)
    if kind == 'safetensors':
        return _read_safetensors(name, map_location)
    try:
        if trust:
            return torch.load(file, map_location=map_location, weights_only=False)
        with torch.serialization.safe_globals(allowed_globals()):
            return torch.load(file, map_location=map_location, weights_only=True)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f'{name}: cut short, damaged or not a checkpoint: {reason}') from None


def _zip_digest_matches(file: BinaryIO, name: str, size: int) -> bool:
    """True when the archive carries our digest and it is right; False when it carries none."""
    if size < _COMMENT_BYTES + 22:
        return False
    file.seek(size - _COMMENT_BYTES)
    comment = file.read()
    file.seek(0)
    if not comment.startswith(_TAG):
        return False
    digest = hashlib.sha256()
    left = size - _COMMENT_BYTES - 2
    while left:
        chunk = file.read(min(_CHUNK, left))
        digest.update(chunk)
        left -= len(chunk)
    # The digest was taken of the archive as torch.save left it, when the comment's length was zero.
    digest.update(b'\0\0')
    length = struct.unpack('<H', file.read(2))[0]
    file.seek(0)
    if length != _COMMENT_BYTES or digest.hexdigest().encode() != comment[len(_TAG) :]:
        raise CheckpointError(f'{name}: damaged: its bytes are not those that were written (SHA-256 differs)')
    return True


def _check_crcs(file: BinaryIO, name: str, size: int, trust: bool) -> None:
    """Checks the 32-bit sums every archive has, for files without our digest."""
    if trust:
        return
    archive = check_zip(file, name, size)
    if archive.comment:
        raise CheckpointError(f'{name}: damaged: it ends with something that is not the digest of its bytes')
    try:
        broken = archive.testzip()
    except Exception as error:
        raise CheckpointError(f'{name}: damaged: {error}') from None
    if broken:
        raise CheckpointError(
            f'{name}: damaged: the bytes of {broken} are not those that were written (CRC differs)'
        )
    file.seek(0)


def _safetensors_bytes(checkpoint: dict) -> bytes:
    from safetensors.torch import save

    weights = checkpoint.get('state_dict', checkpoint)
    if not weights or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointError(
            'a .safetensors file holds weights only: a dict of tensors, under state_dict or bare'
        )
    metadata = {'format': 'pt', _HEADER_KEY: _BLANK}
    if 'meta' in checkpoint:
        metadata['meta'] = json.dumps(_json_ready(checkpoint['meta']))
    # Two names of one tensor would be refused; a copy of each costs little and is always right.
    data = save({key: value.detach().cpu().clone().contiguous() for key, value in weights.items()}, metadata)
    return data.replace(_BLANK.encode(), hashlib.sha256(data).hexdigest().encode(), 1)


def _json_ready(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_json_ready(item) for item in value]
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _check_safetensors_digest(file: BinaryIO, name: str, header: dict) -> None:
    metadata = header.get('__metadata__')
    values = metadata if isinstance(metadata, dict) else {}
    # Also under another name: a flipped bit in the name must not switch the check off.
    digests = [
        value for value in values.values() if isinstance(value, str) and re.fullmatch('[0-9a-f]{64}', value)
    ]
    if _HEADER_KEY not in values and not digests:
        return
    expected = str(values.get(_HEADER_KEY, digests[0] if digests else ''))
    file.seek(0)
    digest = hashlib.sha256()
    first = file.read(8 + max(_CHUNK, _header_length(file)))
    digest.update(first.replace(expected.encode(), _BLANK.encode(), 1))
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if digest.hexdigest() != expected:
        raise CheckpointError(f'{name}: damaged: its bytes are not those that were written (SHA-256 differs)')


def _header_length(file: BinaryIO) -> int:
    """The length in bytes of a safetensors header; the file's position is kept."""
    here = file.tell()
    file.seek(0)
    length = int.from_bytes(file.read(8), 'little')
    file.seek(here)
    return length


def _read_safetensors(name: str, map_location: Any) -> dict:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(name, framework='pt', device='cpu') as reader:
            weights = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118 (not a dict)
            metadata = reader.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f'{name}: cut short or damaged: {error}') from None
    if map_location is not None and not callable(map_location):
        weights = {key: value.to(map_location) for key, value in weights.items()}
    try:
        meta = json.loads(metadata.get('meta', '{}'))
    except ValueError:
        meta = {}
    return {'state_dict': weights, 'meta': meta}


def _drop_config_text(checkpoint: dict) -> None:
    """Removes texts of configs: mmengine's resume and its inferencers run them as Python."""
    meta = checkpoint.get('meta')
    hub = checkpoint.get('message_hub')
    for holder in (meta, hub.get('runtime_info') if isinstance(hub, dict) else None):
        if isinstance(holder, dict):
            for key in ('config', 'cfg'):
                if isinstance(holder.get(key), str):
                    del holder[key]
