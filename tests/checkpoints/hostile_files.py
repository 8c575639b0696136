"""Files that mean harm, one construction a function; used by the tests and by ``benchmarks/abuse.py``.

The harm is tame: a program that touches a witness file, or a claim of more memory than there is. Each
constructor takes the folder to write to and the witness's path, and returns the file.
"""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch


class Touch:
    """Unpickles by running a shell command that touches the witness."""

    def __init__(self, witness: Path) -> None:
        self.command = f'touch {witness}'

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


class _Evaluate:
    def __init__(self, witness: Path) -> None:
        self.text = f'__import__("pathlib").Path({str(witness)!r}).touch()'

    def __reduce__(self) -> tuple:
        return eval, (self.text,)


class _Bytes:
    def __reduce__(self) -> tuple:
        return bytearray, (1 << 44,)


class _NestedLoad:
    """A harmless looking loader of storages that unpickles what it is given."""

    def __init__(self, witness: Path) -> None:
        buffer = io.BytesIO()
        torch.save(Touch(witness), buffer, _use_new_zipfile_serialization=False)
        self.data = buffer.getvalue()

    def __reduce__(self) -> tuple:
        return torch.storage._load_from_bytes, (self.data,)


def weights() -> dict[str, torch.Tensor]:
    """A few honest tensors."""
    return {'layer.weight': torch.arange(6.0).reshape(2, 3), 'layer.bias': torch.zeros(2)}


def _saved(path: Path, **content: object) -> Path:
    torch.save({'meta': {'epoch': 0, 'iter': 1}, 'state_dict': weights(), **content}, path)
    return path


def reduce_on_top(folder: Path, witness: Path) -> Path:
    torch.save(Touch(witness), folder / 'top.pth')
    return folder / 'top.pth'


def reduce_in_metadata(folder: Path, witness: Path) -> Path:
    return _saved(
        folder / 'metadata.pth', meta={'epoch': 0, 'iter': 1, 'notes': [{'author': Touch(witness)}]}
    )


def reduce_among_weights(folder: Path, witness: Path) -> Path:
    return _saved(folder / 'weights.pth', state_dict={**weights(), 'layer.scale': Touch(witness)})


def evaluated_text(folder: Path, witness: Path) -> Path:
    return _saved(folder / 'eval.pth', optimizer={'state': _Evaluate(witness)})


def legacy_format(folder: Path, witness: Path) -> Path:
    path = folder / 'legacy.pth'
    torch.save({'state_dict': weights(), 'x': Touch(witness)}, path, _use_new_zipfile_serialization=False)
    return path


def bare_pickle(folder: Path, witness: Path) -> Path:
    path = folder / 'bare.pth'
    path.write_bytes(pickle.dumps({'state_dict': {}, 'x': Touch(witness)}, protocol=2))
    return path


def bare_pickle_protocol_4(folder: Path, witness: Path) -> Path:
    path = folder / 'bare4.pth'
    path.write_bytes(pickle.dumps({'state_dict': {}, 'x': Touch(witness)}, protocol=4))
    return path


def program_named_safetensors(folder: Path, witness: Path) -> Path:
    path = folder / 'weights.safetensors'
    torch.save({'state_dict': weights(), 'x': Touch(witness)}, path)
    return path


def nested_storage_loader(folder: Path, witness: Path) -> Path:
    return _saved(folder / 'nested.pth', extra=_NestedLoad(witness))


def object_array(folder: Path, witness: Path) -> Path:
    array = np.empty(1, dtype=object)
    array[0] = Touch(witness)
    return _saved(folder / 'object_array.pth', scores=array)


def config_text(folder: Path, witness: Path) -> Path:
    """Honest data in every way, but for a text that mmengine's resume would run as a config."""
    text = f'import os\nos.system("touch {witness}")\ngpu_ids = [0]\n'
    path = folder / 'config_text.pth'
    torch.save(
        {
            'meta': {'epoch': 0, 'iter': 1, 'config': text, 'cfg': text},
            'state_dict': weights(),
            'optimizer': {'state': {}, 'param_groups': []},
            'message_hub': {'log_scalars': {}, 'runtime_info': {'cfg': text}, 'resumed_keys': {}},
        },
        path,
    )
    return path


def _repacked(source: Path, target: Path, change: Callable[[str, bytes], bytes], compression: int) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w', compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return target


def zip_bomb(folder: Path, witness: Path) -> Path:
    """200 MB of zeros in 200 kB."""
    plain = _saved(folder / 'plain.pth')
    bomb = _repacked(
        plain,
        folder / 'bomb.pth',
        lambda name, data: bytes(200 << 20) if name.endswith('/data/0') else data,
        zipfile.ZIP_DEFLATED,
    )
    plain.unlink()
    return bomb


def overlapping_entries(folder: Path, witness: Path) -> Path:
    """An archive whose directory claims a terabyte for an entry."""
    path = _saved(folder / 'overlap.pth')
    data = bytearray(path.read_bytes())
    place = data.rfind(b'PK\x01\x02')
    data[place + 20 : place + 28] = struct.pack('<II', 0xFFFFFF00, 0xFFFFFF00)
    path.write_bytes(data)
    return path


def truncated_zip(folder: Path, witness: Path) -> Path:
    path = _saved(folder / 'truncated.pth')
    path.write_bytes(path.read_bytes()[:-300])
    return path


def torchscript(folder: Path, witness: Path) -> Path:
    path = folder / 'script.pth'
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    return path


def endless_view(folder: Path, witness: Path) -> Path:
    """One number that is viewed as a tensor of 4 TB."""
    return _saved(folder / 'view.pth', state_dict={'layer.weight': torch.zeros(1).expand(1 << 20, 1 << 20)})


def huge_bytearray(folder: Path, witness: Path) -> Path:
    return _saved(folder / 'bytearray.pth', extra=_Bytes())


def deep_nesting(folder: Path, witness: Path) -> Path:
    """A list in a list in a list, 100,000 deep, put straight into the pickle."""
    plain = _saved(folder / 'plain.pth', extra='MARKER')
    deep = b']' * 100_000 + b'a' * 99_999
    marker = b'X\x06\x00\x00\x00MARKER'
    path = _repacked(
        plain,
        folder / 'deep.pth',
        lambda name, data: data.replace(marker, deep) if name.endswith('data.pkl') else data,
        zipfile.ZIP_STORED,
    )
    plain.unlink()
    return path


def billion_references(folder: Path, witness: Path) -> Path:
    """Sixty lists, each holding the one before twice: 2 ** 60 leaves to whoever walks them all."""
    leaf: list = ['x']
    for _ in range(60):
        leaf = [leaf, leaf]
    return _saved(folder / 'references.pth', extra=leaf)


def huge_safetensors_header(folder: Path, witness: Path) -> Path:
    path = folder / 'header.safetensors'
    path.write_bytes(struct.pack('<Q', 1 << 62) + b'{"a":' + bytes(100))
    return path


def safetensors_outside(folder: Path, witness: Path) -> Path:
    """A tensor of a terabyte in a file of a few bytes."""
    header = b'{"layer.weight":{"dtype":"F32","shape":[262144,1048576],"data_offsets":[0,1099511627776]}}'
    path = folder / 'outside.safetensors'
    path.write_bytes(struct.pack('<Q', len(header)) + header + bytes(16))
    return path


def link_to_device(folder: Path, witness: Path) -> Path:
    path = folder / 'zero.pth'
    path.symlink_to('/dev/zero')
    return path


def link_to_nowhere(folder: Path, witness: Path) -> Path:
    path = folder / 'loop.pth'
    path.symlink_to(path)
    return path


def named_pipe(folder: Path, witness: Path) -> Path:
    """Nobody writes to it: whoever reads it waits for ever."""
    path = folder / 'pipe.pth'
    os.mkfifo(path)
    return path


CONSTRUCTIONS: tuple[Callable[[Path, Path], Path], ...] = (
    reduce_on_top,
    reduce_in_metadata,
    reduce_among_weights,
    evaluated_text,
    legacy_format,
    bare_pickle,
    bare_pickle_protocol_4,
    program_named_safetensors,
    nested_storage_loader,
    object_array,
    config_text,
    zip_bomb,
    overlapping_entries,
    truncated_zip,
    torchscript,
    endless_view,
    huge_bytearray,
    deep_nesting,
    billion_references,
    huge_safetensors_header,
    safetensors_outside,
    link_to_device,
    link_to_nowhere,
    named_pipe,
)
# These hold honest data beside the harm: reading them is right, running what they hold is not.
READABLE = {config_text}
