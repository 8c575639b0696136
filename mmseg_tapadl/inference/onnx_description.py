"""What an ONNX file needs to be told about, beside the graph: names, channels, normalisation, size, output.

The same six keys stand in the metadata of the files that ``tools/export.py`` writes, and in a ``FILE.yaml`` that a user
writes beside a file of another make, which wins over the metadata.
"""

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.utils import InputError, shown

KEYS = ('names', 'input', 'mean', 'std', 'size', 'output')
OUTPUTS = ('logits', 'probabilities', 'labels')
_TEMPLATE = """
names: [road, sidewalk, ...]     # of the classes, by id
input: rgb                       # or bgr: the order of the channels
mean: [123.675, 116.28, 103.53]  # subtracted from values of 0 to 255, in the order of the channels
std: [58.395, 57.12, 57.375]     # then divided by
size: [1024, 2048]               # height, width that pictures are brought to; null: left as they are
output: logits                   # or probabilities, (B, classes, H, W); or labels, (B, H, W)"""


@dataclass(frozen=True)
class OnnxDescription:
    """How pictures go into a graph and what comes out.

    Attributes:
        names: Of the classes, by id.
        input: ``'rgb'`` or ``'bgr'``.
        mean: Subtracted from values of 0 to 255, by channel in the order of ``input``.
        std: Divided by.
        size: Height and width that pictures are brought to; None: their own.
        output: ``'logits'``, ``'probabilities'`` or ``'labels'``; None: told from the values (Ultralytics).
        palette: RGB by id, or None.
        letterbox: Keep a picture's proportions and fill up with grey, as Ultralytics does.
    """

    names: tuple[str, ...]
    input: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    output: str | None
    palette: list[list[int]] | None = None
    letterbox: bool = False

    def metadata(self) -> dict[str, str]:
        """The texts that :func:`describe` reads again."""
        values = {key: getattr(self, key) for key in (*KEYS, 'palette')}
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def describe(
    file: Path, metadata: Mapping[str, str], options: Mapping[str, Any], shape: tuple[int | None, int | None]
) -> OnnxDescription:
    """Puts together what is told of a file.

    Args:
        file: The ONNX file; ``FILE.onnx.yaml`` or ``FILE.yaml`` beside it is read where it is there.
        metadata: Of the file.
        options: ``--model-options``; they win.
        shape: Height and width that the graph takes, None for any.

    Raises:
        InputError: A key is missing (with a template), or has a value that it cannot have.
    """
    told: dict[str, Any] = {key: _value(text) for key, text in metadata.items() if key in (*KEYS, 'palette')}
    letterbox = False
    if 'imgsz' in metadata and 'names' in metadata and 'mean' not in metadata:
        # Ultralytics: RGB divided by 255; what comes out is not told.
        told = {
            'input': 'rgb',
            'mean': 0,
            'std': 255,
            'size': _value(metadata['imgsz']),
            'output': None,
            'names': told['names'],
        }
        letterbox = True
    source = shown(file)
    for beside in (file.with_name(f'{file.name}.yaml'), file.with_suffix('.yaml')):
        if beside.is_file():
            told.update(_read_yaml(beside))
            source = shown(beside)
            break
    unknown = [key for key in options if key not in KEYS]
    if unknown:
        raise InputError(
            f'--model-options: {", ".join(unknown)} unknown; an ONNX file takes {", ".join(KEYS)}'
        )
    told.update(options)
    if None not in shape:
        told.setdefault('size', list(shape))
    missing = [key for key in KEYS if key not in told]
    if missing:
        raise InputError(
            f'{shown(file)}: {", ".join(missing)} {"is" if len(missing) == 1 else "are"} not told by its metadata. Write '
            f'{shown(file.with_suffix(".yaml"))}:{_TEMPLATE}'
        )
    size = _size(told['size'], source)
    for side, given, fixed in zip(('height', 'width'), size or (None, None), shape, strict=True):
        if fixed is not None and given != fixed:
            raise InputError(
                f'{source}: size is {told["size"]}, but the graph takes a {side} of {fixed} only'
            )
    order = str(told['input']).lower()
    if order not in ('rgb', 'bgr'):
        raise InputError(f'{source}: input is {told["input"]!r}; it must be rgb or bgr')
    if told['output'] not in (*OUTPUTS, None) or (told['output'] is None and not letterbox):
        raise InputError(f'{source}: output is {told["output"]!r}; it must be {", ".join(OUTPUTS)}')
    std = _three(told['std'], 'std', source)
    if min(std) <= 0:
        raise InputError(f'{source}: std is {told["std"]}; it is divided by, so it must be above 0')
    names = _names(told['names'], source)
    return OnnxDescription(
        names=names,
        input=order,
        mean=_three(told['mean'], 'mean', source),
        std=std,
        size=size,
        output=told['output'],
        palette=_palette(told.get('palette'), len(names)),
        letterbox=letterbox,
    )


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding='utf-8'))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f'{shown(file)}: is no YAML: {" ".join(str(error).split())}') from error
    if not isinstance(content, dict):
        raise InputError(f'{shown(file)}: must hold the keys {", ".join(KEYS)}')
    unknown = [str(key) for key in content if key not in (*KEYS, 'palette')]
    if unknown:
        raise InputError(f'{shown(file)}: unknown key {", ".join(unknown)}; the keys are {", ".join(KEYS)}')
    return content


def _value(text: str) -> Any:
    """A text of metadata as data: JSON, or a literal of Python as Ultralytics writes it; never run."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _names(value: Any, source: str) -> tuple[str, ...]:
    if isinstance(value, dict):
        try:
            by_id = {int(key): name for key, name in value.items()}
        except (TypeError, ValueError):
            by_id = {}
        value = [by_id[key] for key in sorted(by_id)] if sorted(by_id) == list(range(len(value))) else None
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(name, str) for name in value):
        raise InputError(f'{source}: names must be a list of names, or number: name from 0 on without a gap')
    return tuple(value)


def _palette(value: Any, count: int) -> list[list[int]] | None:
    found = dataset_meta_of({'dataset_meta': {'palette': value}}).get('palette')
    return found if found and len(found) == count else None


def _three(value: Any, key: str, source: str) -> tuple[float, ...]:
    values = [value] * 3 if isinstance(value, (int, float)) else value
    if (
        not isinstance(values, (list, tuple))
        or len(values) != 3
        or not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values)
        or not all(map(math.isfinite, values))
    ):
        raise InputError(f'{source}: {key} is {value!r}; three numbers are needed')
    return tuple(float(one) for one in values)


def _size(value: Any, source: str) -> tuple[int, int] | None:
    if value is None or str(value).lower() == 'none':
        return None
    values = [value] * 2 if isinstance(value, int) else value
    if (
        not isinstance(values, (list, tuple))
        or len(values) != 2
        or not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in values)
    ):
        raise InputError(f'{source}: size is {value!r}; height and width are needed, or null')
    return (values[0], values[1])
