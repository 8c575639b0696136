"""What a run's result depends on beside its seed: sources, library versions, data and weights, as digests."""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_tapadl.datasets.corruptions import picture_identity
from mmseg_tapadl.engine.building import building
from mmseg_tapadl.evaluation.seen_pictures import SeenPictures
from mmseg_tapadl.utils import InputError, sha256_of, write_json
from mmseg_tapadl.utils.config_values import digest_of
from mmseg_tapadl.utils.dataset_tree import leaf_datasets

PACKAGE = Path(__file__).resolve().parents[1]
_REQUIREMENTS = PACKAGE.parent / 'requirements.txt'
_NO_SOURCES = ('.', '__pycache__', 'shipped')
_NAME = re.compile(r'[A-Za-z0-9][-A-Za-z0-9._]*')


def sources_digest(package: Path = PACKAGE) -> str:
    """SHA-256 over names and bytes of a package's files; what Python compiles of them does not count."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob('*'), key=lambda path: path.relative_to(package).as_posix()):
        inside = path.relative_to(package)
        # Configs and tools lie inside an installed package, and beside it in a checkout.
        if path.is_file() and not any(part.startswith(_NO_SOURCES) for part in inside.parts):
            digest.update(f'{inside.as_posix()}\n{sha256_of(path)}\n'.encode())
    return digest.hexdigest()


def pinned_versions() -> dict[str, str]:
    """The installed versions of the libraries of ``requirements.txt`` and of all that these need, by name."""
    versions: dict[str, str] = {}
    waiting = list(_required())
    while waiting:
        name = waiting.pop()
        key = re.sub(r'[-_.]+', '-', name).lower()
        if key in versions:
            continue
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        # setuptools, once imported, offers copies of libraries to everyone in the process: nobody installed those.
        if '_vendor' in Path(str(found.locate_file(''))).parts:
            continue
        versions[key] = found.version
        lines = found.requires or ()
        # Extras are left out; what a marker rules out on this machine is not installed.
        waiting += [_name_of(line) for line in lines if 'extra ==' not in line.partition(';')[2]]
    return dict(sorted(versions.items()))


def _required() -> Iterator[str]:
    if _REQUIREMENTS.is_file():
        lines: Iterable[str] = _REQUIREMENTS.read_text(encoding='utf-8').splitlines()
    else:  # installed as a package
        lines = importlib.metadata.requires('mmseg_tapadl') or ()
    for line in lines:
        if line.strip() and not line.startswith('#') and 'extra ==' not in line:
            yield _name_of(line)


def _name_of(requirement: str) -> str:
    found = _NAME.match(requirement.strip())
    return found[0] if found else requirement


class FileDigests:
    """SHA-256 of files, remembered by path, size and time of change.

    Args:
        path: Where they are remembered between calls.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            known = json.loads(path.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            known = {}
        self._known: dict[str, list] = known if isinstance(known, dict) else {}
        self._changed = False

    def of(self, path: str | Path) -> str:
        """The digest of a file.

        Raises:
            InputError: It cannot be read.
        """
        file = Path(path)
        try:
            status = file.stat()
            stamp = [status.st_size, status.st_mtime_ns]
            entry = self._known.get(str(file.absolute()))
            if entry is not None and entry[:2] == stamp:
                return entry[2]
            digest = sha256_of(file)
        except OSError as error:
            raise InputError(f'{file}: cannot be read ({error.strerror})') from error
        self._known[str(file.absolute())] = [*stamp, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Writes what is new."""
        if self._changed:
            write_json(self._path, self._known)
            self._changed = False


class DataDigests:
    """One digest for all pictures and labels of a data set, whatever folder it lies in.

    Args:
        files: Remembers the digests of the files.
    """

    def __init__(self, files: FileDigests) -> None:
        self._files = files
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, config: Config, loader: str) -> dict[str, Any]:
        """``pictures`` (their number) and ``sha256`` of what a loader of a config reads.

        Raises:
            InputError: The data set cannot be built, holds no picture, or a file cannot be read.
        """
        described = config[loader].dataset
        key = digest_of(described)
        if key not in self._known:
            init_default_scope(config.get('default_scope', 'mmseg'))
            try:
                with building(config, f'{loader}.dataset'):
                    dataset = DATASETS.build(described)
            except OSError as error:
                raise InputError(f'{config.filename}: {loader}.dataset: {error}') from error
            seen = SeenPictures(dataset)
            if not seen.paths:
                raise InputError(f'{config.filename}: {loader}.dataset holds no picture; check its data_root')
            roots = [
                str(root) for leaf in leaf_datasets(dataset) if (root := getattr(leaf, 'data_root', None))
            ]
            digest = hashlib.sha256()
            for path in (*seen.paths, *seen.labels):
                name = picture_identity(path, roots[0] if roots else None)
                digest.update(f'{name}\n{self._files.of(path)}\n'.encode('utf-8', 'surrogateescape'))
            self._known[key] = {'pictures': len(seen.paths), 'sha256': digest.hexdigest()}
        return self._known[key]
