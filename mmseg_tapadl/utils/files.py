"""Writing files so that a reader sees the old one or the new one, never a part of either."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = 'wb', **kwargs: Any) -> Iterator[IO]:
    """Opens a file for writing that takes its name only when it is whole and on disk.

    The bytes go to a temporary file in the same folder (a rename across file systems is not atomic),
    are flushed and fsynced, and the temporary file is renamed onto ``path``. When the body raises,
    the temporary file is removed and whatever stood at ``path`` stays as it was.

    Args:
        path: The file to write; its folder is created.
        mode: ``'wb'`` or ``'w'``.
        **kwargs: Passed to :func:`open` (``encoding``, ``newline``).

    Yields:
        The open temporary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix='.tmp')
    try:
        with open(descriptor, mode, **kwargs) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; give the result the mode that open() would have given it.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    # The rename itself is durable only once the folder is.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
