"""Writing files so that a reader sees the old one or the new one, never a part of either."""

import errno
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mmseg_tapadl.utils.text import shown

# What a file system answers that cannot sync (some network mounts, folders shared with a virtual machine), or
# where the folder may not be opened for reading (Windows never lets one). Lost bytes (EIO, ENOSPC) are not among them.
_CANNOT_SYNC = {
    *(errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY),
    *(errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR),
}
_LONGEST_SUFFIX = 16
_sync_told = False


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = 'wb', **kwargs: Any) -> Iterator[IO]:
    """Opens a file for writing that takes its name only when it is whole and on disk.

    The bytes go to a temporary file in the same folder (a rename across file systems is not atomic),
    are flushed and fsynced, and the temporary file is renamed onto ``path``. When the body raises,
    the temporary file is removed and whatever stood at ``path`` stays as it was. A file system that cannot
    sync is told of once in the log (a power cut may then undo the rename) and is no reason to stop.

    Args:
        path: The file to write; its folder is created.
        mode: ``'wb'`` or ``'w'``.
        **kwargs: Passed to :func:`open` (``encoding``, ``newline``).

    Yields:
        The open temporary file.

    Raises:
        OSError: For what loses bytes: no room, an I/O error, a folder that cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        # 'x' makes the file anew or fails, with the rights that every new file of this process gets.
        with open(temporary, mode.replace('w', 'x'), **kwargs) as file:
            yield file
            file.flush()
            _sync(file.fileno(), path.parent)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def temporary_beside(path: Path) -> Path:
    """A new hidden name in the folder of ``path``: ``.new<its suffix>.<8 digits>.tmp``.

    It is short, so that every file whose own name is allowed can be written.
    """
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ''
    return path.with_name(f'.new{suffix}.{secrets.token_hex(4)}.tmp')


def sync_folder(folder: str | os.PathLike) -> None:
    """Makes the names in a folder durable, as far as its file system can.

    Raises:
        OSError: For an I/O error or a full disk.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        _tell_or_raise(error, folder)
        return
    try:
        _sync(descriptor, folder)
    finally:
        os.close(descriptor)


def _sync(descriptor: int, folder: str | os.PathLike) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        _tell_or_raise(error, folder)


def _tell_or_raise(error: OSError, folder: str | os.PathLike) -> None:
    global _sync_told
    if error.errno not in _CANNOT_SYNC:
        raise error
    if not _sync_told:
        _sync_told = True
        logging.getLogger(__name__).warning(
            'files below %s cannot be synced to disk (%s): they are written, but a power cut may lose the last ones',
            shown(folder),
            error.strerror,
        )


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes ``value`` as indented, strictly valid JSON (no bare NaN), atomically."""
    with atomic_write(path, 'w', encoding='utf-8') as file:
        json.dump(value, file, indent=2, allow_nan=False)
        file.write('\n')


def sha256_of(path: str | os.PathLike, chunk_bytes: int = 1 << 20) -> str:
    """The SHA-256 digest of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(chunk_bytes):
            digest.update(chunk)
    return digest.hexdigest()
