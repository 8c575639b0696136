"""Reading a checkpoint, wherever it lies, through :mod:`checkpoint_io`: as data, never as a program.

mmengine's ``CheckpointLoader`` asks a table of prefixes who reads an address. ``init_cfg=dict(type='Pretrained')``,
``load_checkpoint`` and the like of mmengine and mmseg go through that table. Our tools, runner, ``Predictor`` and
``measure`` put :data:`READERS` into it while they run (:func:`plain_readers`); afterwards it is as it was.
"""

import itertools
import os
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.fileio import get_file_backend
from mmengine.runner import CheckpointLoader, get_external_models, get_mmcls_models, get_torchvision_models

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, read_checkpoint
from mmseg_tapadl.utils.one_process import on_each_machine

_TRUSTED: set[str] = set()
# YYYYMMDD, maybe with a time of day: a digest that looks like one is so rare that it may go unchecked.
_DATE = re.compile(r'(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{4}|\d{6})?')


def trust_checkpoint(path: str | os.PathLike) -> None:
    """Lets this process run the program inside one file (``--trust-checkpoint`` of the tools).

    Args:
        path: The file, or the address it is fetched from; it gets all the rights of the person who started
            the process.
    """
    name = os.fspath(path)
    _TRUSTED.add(name if '://' in name else os.path.realpath(os.path.expanduser(name)))


def load_plain_local(filename: str, map_location: Any = None) -> dict:
    """Reads a local file, or weights of :func:`hand_over`, for mmengine's ``CheckpointLoader``; see :func:`read_checkpoint`."""
    if filename in _HANDED_OVER:
        # Once, so that nothing lies in memory for long.
        return {'state_dict': _HANDED_OVER.pop(filename)}
    path = os.path.expanduser(filename)
    return read_checkpoint(path, map_location=map_location, trust=os.path.realpath(path) in _TRUSTED)


def load_plain_http(filename: str, map_location: Any = None) -> dict:
    """Downloads a file once into torch's cache and reads it as data.

    A name that ends in ``-<first hex digits of its SHA-256>.pth``, the custom of torch and OpenMMLab, is
    checked against these digits while it is downloaded; a date at the end is no digest.
    """
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    target = folder / Path(urlparse(filename).path).name

    def fetch() -> None:
        if target.exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                filename, str(target), hash_prefix=_digest_in(target.stem), progress=True
            )
        except (OSError, RuntimeError) as error:
            raise CheckpointError(f'{filename}: cannot be downloaded: {error}') from None

    # Machines need not share a home.
    on_each_machine(fetch)
    return read_checkpoint(target, map_location=map_location, trust=filename in _TRUSTED)


def _digest_in(stem: str) -> str | None:
    """The first digits of a SHA-256 at the end of a file's name; a date (``-20220624``) is none."""
    digits = stem.rpartition('-')[2]
    if '-' not in stem or not re.fullmatch('[0-9a-f]{8,64}', digits) or _DATE.fullmatch(digits):
        return None
    return digits


def load_plain_named(filename: str, map_location: Any = None) -> dict:
    """Reads a model of a public zoo by its name (``torchvision://resnet50``, ``open-mmlab://...``)."""
    scheme, _, name = filename.partition('://')
    tables = {
        'torchvision': get_torchvision_models,
        'modelzoo': get_torchvision_models,
        'mmcls': get_mmcls_models,
    }
    address = tables.get(scheme, get_external_models)().get(name)
    if address is None:
        raise CheckpointError(f'{filename}: {scheme} has no model of this name')
    if filename in _TRUSTED:
        trust_checkpoint(address)
    checkpoint = load_plain_http(address, map_location)
    if scheme == 'mmcls':
        weights = checkpoint.get('state_dict', checkpoint)
        prefix = 'backbone.'
        return {
            'state_dict': {
                key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)
            }
        }
    return checkpoint


def load_plain_stored(filename: str, map_location: Any = None) -> dict:
    """Fetches the bytes of an ``s3://`` or ``petrel://`` address with mmengine's client and reads them as data."""
    instead = 'or download the file and name it by its path'
    try:
        content = get_file_backend(filename, backend_args={'backend': 'petrel'}).get(filename)
    except ImportError as error:
        raise CheckpointError(
            f'{filename}: the client of this storage is not installed ({error}); install it, {instead}'
        ) from None
    except Exception as error:  # the client's own errors have no common class
        raise CheckpointError(
            f'{filename}: cannot be fetched: {type(error).__name__}: {error}; check the address and the access, {instead}'
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'fetched'
        path.write_bytes(content)
        try:
            return read_checkpoint(path, map_location=map_location, trust=filename in _TRUSTED)
        except CheckpointError as error:
            raise CheckpointError(str(error).replace(str(path), filename)) from None


def load_plain_nowhere(filename: str, map_location: Any = None) -> dict:
    """Refuses a storage service whose reader in mmengine would unpickle programs."""
    raise CheckpointError(
        f'{filename}: not read from this kind of address; download the file and name it by its path'
    )


def hand_over(weights: Mapping[str, torch.Tensor]) -> str:
    """Gives weights in memory an address, under which mmengine's initialisation reads them once.

    Args:
        weights: By the names of the module that will read them.

    Returns:
        What ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes while :func:`plain_readers` runs.
    """
    address = f'handed-over://{next(_NUMBERS)}'
    _HANDED_OVER[address] = weights
    return address


_HANDED_OVER: dict[str, Mapping[str, torch.Tensor]] = {}
_NUMBERS = itertools.count()

READERS: dict[str, Callable[..., dict]] = {
    '': load_plain_local,
    'http://': load_plain_http,
    'https://': load_plain_http,
    'torchvision://': load_plain_named,
    'modelzoo://': load_plain_named,
    'open-mmlab://': load_plain_named,
    'openmmlab://': load_plain_named,
    'mmcls://': load_plain_named,
    r'(\S+\:)?s3://': load_plain_stored,
    r'(\S+\:)?petrel://': load_plain_stored,
    'pavi://': load_plain_nowhere,
}
"""Who reads which address: mmengine's own prefixes (regular expressions), each with a reader that runs nothing."""


def load_plain(filename: str | os.PathLike, map_location: Any = 'cpu') -> dict:
    """Reads a checkpoint from a path or an address as data.

    Args:
        filename: A path, or an address that begins with one of :data:`READERS` or of another reader that was
            registered with mmengine.
        map_location: Where tensors go, as for :func:`torch.load`.

    Raises:
        CheckpointError: Naming the file or address and the reason.
    """
    with plain_readers():
        return CheckpointLoader.load_checkpoint(os.fspath(filename), map_location, logger='silent')


class _Table:
    """What :func:`plain_readers` found and put in its place; one for the process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.former: dict[str, Callable] = {}
        self.installed: dict[str, Callable] = {}

    def enter(self) -> None:
        with self.lock:
            if self.depth == 0:
                self.former = CheckpointLoader._schemes
                self.installed = {**self.former, **READERS}
                CheckpointLoader._schemes = _longest_first(self.installed)
            self.depth += 1

    def leave(self) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                now = CheckpointLoader._schemes.items()
                added = {prefix: reader for prefix, reader in now if self.installed.get(prefix) is not reader}
                CheckpointLoader._schemes = _longest_first({**self.former, **added}) if added else self.former


_TABLE = _Table()


@contextmanager
def plain_readers() -> Iterator[None]:
    """While the block runs, mmengine's ``CheckpointLoader`` reads through :data:`READERS`.

    May be nested and entered from several threads; the last to leave puts the former table back, also after an
    error. A reader that other code registers meanwhile stays. Usable as a decorator.
    """
    _TABLE.enter()
    try:
        yield
    finally:
        _TABLE.leave()


def _longest_first(table: dict[str, Callable]) -> dict[str, Callable]:
    """In mmengine's order: the first prefix that matches reads."""
    return OrderedDict(sorted(table.items(), reverse=True))
