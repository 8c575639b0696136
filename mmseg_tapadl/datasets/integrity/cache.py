"""Remembers the facts of files that have not changed since.

Kept in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``, below ``mmseg_tapadl/integrity``), not in
the data root, which may be read-only or shared. A file counts as unchanged when its path, size and
modification time (nanoseconds) are the same.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from mmseg_tapadl.datasets.integrity.files import FACTS_VERSION, Facts
from mmseg_tapadl.utils import atomic_write


def cache_folder() -> Path | None:
    """Where the caches lie, made when first written; None for a user without a home folder."""
    base = os.environ.get('XDG_CACHE_HOME')
    try:
        root = Path(base) if base else Path.home() / '.cache'
    except RuntimeError:  # HOME is unset, and no table knows the user's number
        return None
    return root / 'mmseg_tapadl' / 'integrity'


class FactsCache:
    """The remembered facts of one data set. It is a convenience: whatever keeps it from working costs time only.

    Args:
        folders: The data set's folders; each set of folders has a file of its own.
        loading: How its files are loaded; facts found by another way of loading are not used.
        enabled: False remembers and writes nothing.
    """

    def __init__(self, folders: Iterable[str], *, loading: str = '', enabled: bool = True):
        folder = cache_folder()
        key = '\n'.join([loading, *map(os.path.abspath, folders)]).encode('utf-8', 'surrogateescape')
        self.path = folder and folder / f'{hashlib.sha256(key).hexdigest()[:24]}.json'
        self._known: dict[str, list] = self._read() if enabled else {}
        self.enabled = enabled and self.path is not None
        self._changed = False

    def get(self, role: str, path: str) -> Facts | None:
        """The facts of a file as ``'image'`` or ``'label'``, None when unknown or changed."""
        entry = self._known.get(f'{role}:{os.path.abspath(path)}')
        try:
            if entry is None or entry[:2] != self._stamp(path):
                return None
            return Facts.from_json(entry[2])
        except (LookupError, TypeError, ValueError):
            return None

    def put(self, role: str, path: str, facts: Facts) -> None:
        """Remembers the facts of a file that is there."""
        stamp = self._stamp(path)
        if self.enabled and stamp:
            self._known[f'{role}:{os.path.abspath(path)}'] = [*stamp, facts.to_json()]
            self._changed = True

    def save(self) -> None:
        """Writes what is new; a folder that cannot be written costs only the next run's time."""
        if not self._changed or self.path is None:
            return
        try:
            with atomic_write(self.path, 'w', encoding='utf-8') as file:
                json.dump({'version': FACTS_VERSION, 'files': self._known}, file, separators=(',', ':'))
        except OSError:
            return

    def _read(self) -> dict[str, list]:
        try:
            content = json.loads(self.path.read_text(encoding='utf-8')) if self.path else {}
            files = content['files'] if content['version'] == FACTS_VERSION else {}
            return files if isinstance(files, dict) else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    @staticmethod
    def _stamp(path: str) -> list[int]:
        try:
            status = os.stat(path)
        except OSError:
            return []
        return [status.st_size, status.st_mtime_ns]
