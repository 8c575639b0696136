"""What a checkpoint file may hold, checked on its bytes before anything is unpickled.

A ``.pth`` file is a ZIP archive around a pickle, and a pickle is a program: it names functions and
calls them. The checks here read the file without running it, so that a refusal can say what the
file wanted to do. PyTorch's own ``weights_only`` reader decides; these checks
come before it, give its refusals a plain text and stop what only wastes memory (compressed bombs, huge headers).
"""

import argparse
import collections
import json
import pickletools
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import torch

from mmseg_tapadl.utils import InputError

_ZIP_MAGIC = b'PK\x03\x04'
_MAX_PICKLE_BYTES = 256 << 20
_MAX_HEADER_BYTES = 100 << 20  # the limit of the safetensors format itself
_MAX_ENTRIES = 1_000_000

# The names a file of plain tensors needs. Everything else is a program as far as we are concerned.
_TENSOR_NAMES = {
    'collections.OrderedDict',
    'torch._utils._rebuild_tensor',
    'torch._utils._rebuild_tensor_v2',
    'torch._utils._rebuild_parameter',
    'torch.nn.parameter.Parameter',
    'torch.Size',
    'torch.device',
    'torch.serialization._get_layout',
    'torch.storage.UntypedStorage',
    'torch.storage.TypedStorage',
}
_PLAIN_NAMES = {
    '_codecs.encode',
    'builtins.set',
    'builtins.complex',
    '__builtin__.set',
    '__builtin__.complex',
}


class CheckpointError(InputError):
    """A file is not a checkpoint this toolkit reads; the message names the file and the reason."""


class InertObject:
    """Stands in for an object of a log in other people's checkpoints; holds its fields, does nothing.

    mmengine stores its log buffers as objects, older versions with a reference to ``getattr``. Under
    this stand-in both are read as data: calling it only stores what it was called with.
    """

    def __init__(self, *args: Any) -> None:
        self.args = args


def allowed_globals() -> list:
    """The classes ``torch.load(weights_only=True)`` may build beside tensors, for ``safe_globals``.

    Numpy numbers and arrays (scores of a validation), ``argparse.Namespace`` (timm's ``args``) and, as
    :class:`InertObject`, mmengine's log buffers. None of them can call anything.
    """
    allowed: list = [np.ndarray, np.dtype, (argparse.Namespace, 'argparse.Namespace')]
    allowed += [type(np.dtype(code)) for code in '?bhilqBHILQefdSU']
    for core in ('numpy.core', 'numpy._core'):
        allowed.append((np.ndarray([]).__reduce__()[0], f'{core}.multiarray._reconstruct'))
        allowed.append((np.float32(0).__reduce__()[0], f'{core}.multiarray.scalar'))
    for name in ('mmengine.logging.history_buffer.HistoryBuffer', 'builtins.getattr', '__builtin__.getattr'):
        allowed.append((InertObject, name))
    return allowed


_ALLOWED_NAMES = {
    entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__name__}'
    for entry in allowed_globals()
}


def _is_plain(name: str) -> bool:
    """Whether a pickle may name ``name`` (``module.attribute``) and still be plain data."""
    if name in _TENSOR_NAMES or name in _PLAIN_NAMES or name in _ALLOWED_NAMES:
        return True
    module, _, attribute = name.rpartition('.')
    if module != 'torch':
        return False
    return attribute.endswith('Storage') or isinstance(getattr(torch, attribute, None), torch.dtype)


def _names_in_pickle(data: bytes | BinaryIO) -> Iterator[str]:
    """Yields ``module.attribute`` of everything one pickle would look up, without running it."""
    strings: collections.deque[str] = collections.deque(maxlen=2)
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ('GLOBAL', 'INST'):
            yield str(argument).replace(' ', '.')
        elif opcode.name == 'STACK_GLOBAL':
            yield '.'.join(strings) or 'an unnamed function'
        elif isinstance(argument, str):
            strings.append(argument)


def check_pickle(data: bytes | BinaryIO, path: str) -> None:
    """Refuses a pickle that names anything but tensors and plain data.

    Args:
        data: The pickle's bytes, or a file standing at its start (left standing behind its end).
        path: The file's name, for the message.

    Raises:
        CheckpointError: Naming the function the pickle would have called.
    """
    try:
        wanted = [name for name in _names_in_pickle(data) if not _is_plain(name)]
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f'{path}: not a checkpoint, or damaged: its pickle cannot be read ({error})'
        ) from None
    if wanted:
        names = ', '.join(dict.fromkeys(wanted))
        raise CheckpointError(
            f'{path}: this file holds a program ({names}), not only weights; refused, nothing of it was run. '
            'If you know where it comes from and trust it, the tools read it with --trust-checkpoint.'
        )


def check_zip(file: BinaryIO, path: str, size: int) -> zipfile.ZipFile:
    """Refuses archives that PyTorch did not write: compressed, overlapping, with programs inside.

    Args:
        file: The open file.
        path: Its name, for messages.
        size: Its size in bytes.

    Returns:
        The archive, for the caller's own checks.

    Raises:
        CheckpointError: With the reason.
    """
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise CheckpointError(f'{path}: cut short or damaged: {error} ({size} bytes)') from None
    if len(entries) > _MAX_ENTRIES:
        raise CheckpointError(f'{path}: refused, {len(entries)} entries in the archive')
    if any(entry.filename.endswith('/constants.pkl') for entry in entries):
        raise CheckpointError(
            f'{path}: this file holds a TorchScript program, not only weights; refused, nothing of it was run'
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(
            f'{path}: refused, its entries are compressed (PyTorch stores them plainly; this may be a bomb)'
        )
    claimed = sum(entry.file_size for entry in entries)
    if claimed > size:
        raise CheckpointError(f'{path}: refused, its entries claim {claimed} bytes but the file has {size}')
    pickles = [entry for entry in entries if entry.filename.rpartition('/')[2] == 'data.pkl']
    if len(pickles) != 1:
        raise CheckpointError(f'{path}: not a checkpoint: a ZIP archive with {len(pickles)} data.pkl inside')
    if pickles[0].file_size > _MAX_PICKLE_BYTES:
        raise CheckpointError(f'{path}: refused, a pickle of {pickles[0].file_size} bytes')
    try:
        data = archive.read(pickles[0])
    except Exception as error:  # a damaged directory leads anywhere
        raise CheckpointError(f'{path}: damaged: {error}') from None
    check_pickle(data, path)
    return archive


def check_legacy(file: BinaryIO, path: str) -> None:
    """Refuses programs in the format before PyTorch 1.6: a row of pickles, then the raw numbers.

    Raises:
        CheckpointError: When a pickle is a program, or the file is something else altogether.
    """
    # Magic number, protocol version, system information, the object itself. A bare pickle ends after
    # its first: then it is no checkpoint, but what it wanted to call is still said.
    for position in range(4):
        check_pickle(file, path)
        if position == 0:
            here = file.tell()
            if not file.read(1):
                raise CheckpointError(f'{path}: not a checkpoint: a pickle without tensors')
            file.seek(here)


def check_safetensors_header(file: BinaryIO, path: str, size: int) -> dict:
    """Reads the header of a ``.safetensors`` file after checking that it can be what it claims.

    Returns:
        The header: one entry a tensor, and ``__metadata__`` where there is one.

    Raises:
        CheckpointError: When the header is longer than the file, not JSON, or tensors lie outside.
    """
    length = int.from_bytes(file.read(8), 'little')
    if length > min(_MAX_HEADER_BYTES, size - 8):
        raise CheckpointError(f'{path}: refused, its header claims {length} bytes but the file has {size}')
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f'{path}: not a safetensors file: its header is not JSON ({error})') from None
    if not isinstance(header, dict):
        raise CheckpointError(f'{path}: not a safetensors file: its header is no JSON object')
    return header


def kind_of(head: bytes) -> str:
    """Tells the format by its first bytes (never by the file's name): zip, legacy, safetensors, unknown."""
    if head.startswith(_ZIP_MAGIC):
        return 'zip'
    if len(head) > 8 and head[8:9] == b'{':
        return 'safetensors'
    if head[:1] == b'\x80' or head[:1] in b'(}]cK':
        return 'legacy'
    return 'unknown'
