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


def cache_folder() -> Path:
    """Where the caches lie; made when first written."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'mmseg_tapadl' / 'integrity'


class FactsCache:
    """The remembered facts of one data set.

    Args:
        folders: The data set's folders; each set of folders has a file of its own.
        enabled: False remembers and writes nothing.
    """

    def __init__(self, folders: Iterable[str], *, enabled: bool = True):
        key = '\n'.join(os.path.abspath(folder) for folder in folders)
        self.path = cache_folder() / f'{hashlib.sha256(key.encode()).hexdigest()[:24]}.json'
        self.enabled = enabled
        self._known: dict[str, list] = self._read() if enabled else {}
        self._changed = False

    def get(self, role: str, path: str) -> Facts | None:
        """The facts of a file as ``'image'`` or ``'label'``, None when unknown or changed."""
        entry = self._known.get(f'{role}:{os.path.abspath(path)}')
        if entry is None or entry[:2] != self._stamp(path):
            return None
        return Facts.from_json(entry[2])

    def put(self, role: str, path: str, facts: Facts) -> None:
        """Remembers the facts of a file that is there."""
        stamp = self._stamp(path)
        if self.enabled and stamp:
            self._known[f'{role}:{os.path.abspath(path)}'] = [*stamp, facts.to_json()]
            self._changed = True

    def save(self) -> None:
        """Writes what is new; a folder that cannot be written costs only the next run's time."""
        if not self._changed:
            return
        try:
            with atomic_write(self.path, 'w', encoding='utf-8') as file:
                json.dump({'version': FACTS_VERSION, 'files': self._known}, file, separators=(',', ':'))
        except OSError:
            return

    def _read(self) -> dict[str, list]:
        try:
            content = json.loads(self.path.read_text(encoding='utf-8'))
            return content['files'] if content['version'] == FACTS_VERSION else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    @staticmethod
    def _stamp(path: str) -> list[int]:
        try:
            status = os.stat(path)
        except OSError:
            return []
        return [status.st_size, status.st_mtime_ns]
