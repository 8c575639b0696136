"""Sizes in a training batch: what leaves the pipeline must become one size when the batch is stacked.

mmseg pads every picture of a training batch to ``data_preprocessor.size``, which leaves larger ones as they are, or to a
multiple of ``size_divisor`` that holds the largest, which always works. Validation and testing are not compared:
there, pictures of one size go through the model together and the others apart
(:mod:`mmseg_tapadl.engine.equal_sizes`).

Sizes are (height, width), as in ``crop_size`` and ``size``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.dataset import BaseDataset
from mmseg.models import SegDataPreProcessor
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmseg_tapadl.agreement.parts import Part, preprocessor

Size = tuple[int, int]

_LOADERS = ('LoadImageFromFile', 'LoadDeepImageFromFile')
# Transforms after which a picture has the size it had before.
_KEEP_SIZE = frozenset(
    {
        *_LOADERS,
        *('LoadAnnotations', 'CheckedLoadAnnotations', 'MappedLoadAnnotations'),
        *(
            'RandomFlip',
            'PhotoMetricDistortion',
            'RandomCutOut',
            'CLAHE',
            'AdjustGamma',
            'RGB2Gray',
            'Rerange',
        ),
        *('Normalize', 'GenerateEdge', 'CorruptImage', 'PackSegInputs'),
    }
)
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class _Extent:
    """What is known of the sizes behind a transform.

    Attributes:
        kind: ``'picture'``: the files' own; ``'fixed'``: one size; ``'within'``: at most ``size``; ``'random'``: at most
            ``size``, drawn anew each time; ``'unknown'``.
        size: See ``kind``.
        cause: The transform that decided it.
    """

    kind: str
    size: Size | None = None
    cause: Part | None = None


def compare_sizes(cfg: Any) -> list[str]:
    """Compares the sizes that leave the training pipeline with the size that batches are padded to.

    The headers of the pictures are read where nothing in the pipeline changes their sizes and a batch holds several; of
    pictures with a tag that turns them, one of each kind is loaded.

    Args:
        cfg: The config of a training.

    Returns:
        The faults, one line each.
    """
    pads = preprocessor(cfg)
    if pads is None or pads.cls is None or not issubclass(pads.cls, SegDataPreProcessor):
        return []
    loader = cfg.get('train_dataloader') or {}
    size, divisor = pads.config.get('size'), pads.config.get('size_divisor')
    if (size is None) == (divisor is None):
        found = 'neither' if size is None else 'both'
        return [
            f'{pads.key} states {found} of size and size_divisor, and mmseg needs exactly one to train: write '
            f'{pads.key}.size, the size of the training crops'
        ]
    padded, batch = _pair(size), int(loader.get('batch_size') or 1)
    if padded is None or batch < 2 or not isinstance(loader.get('dataset'), dict):
        return []
    faults = []
    for leaf, steps in _pipelines('train_dataloader.dataset', loader['dataset']):
        fault = _fault_of(leaf, steps, padded, pads.key, batch)
        if fault:
            faults.append(fault)
    return list(dict.fromkeys(faults))


def _fault_of(leaf: Part, steps: Sequence[Part], padded: Size, pads: str, batch: int) -> str:
    extent = _extent_after(steps)
    if extent.kind in ('within', 'random') and extent.cause and extent.size and _exceeds(extent.size, padded):
        if extent.kind == 'within':
            return (
                f'{extent.cause.key}.crop_size is {extent.size}, but {pads}.size is {padded}: a picture that is smaller '
                f'than a crop could not be stacked with a whole crop; write {pads}.size={extent.size}'
            )
        return (
            f'{extent.cause.key} ({extent.cause.config.get("type")}) draws sizes up to {extent.size} and no crop follows, '
            f'but {pads}.size is {padded}: {batch} pictures of a batch could not be stacked; add '
            f"dict(type='RandomCrop', crop_size={padded}) after it"
        )
    if extent.kind == 'picture':
        pair = _two_sizes(leaf, steps, padded)
        if pair:
            (first, a), (second, b) = pair
            return (
                f'{first} is {a[1]}x{a[0]} and {second} is {b[1]}x{b[0]}, and nothing in {leaf.key}.pipeline makes them one '
                f'size: {batch} pictures of a batch could not be stacked to {pads}.size={padded}; add '
                f"dict(type='RandomCrop', crop_size={padded}), or write train_dataloader.batch_size=1"
            )
    return ''


def _pipelines(key: str, dataset: dict, outer: Sequence[Part] = ()) -> Iterator[tuple[Part, list[Part]]]:
    """Every data set that holds pictures, with the transforms its pictures go through, wrappers' included."""
    own = [
        Part(f'{key}.pipeline.{number}', item, TRANSFORMS)
        for number, item in enumerate(dataset.get('pipeline') or ())
        if isinstance(item, dict)
    ]
    steps = [*own, *outer]
    if isinstance(dataset.get('datasets'), (list, tuple)):
        for number, part in enumerate(dataset['datasets']):
            if isinstance(part, dict):
                yield from _pipelines(f'{key}.datasets.{number}', part, steps)
    elif isinstance(dataset.get('dataset'), dict):
        yield from _pipelines(f'{key}.dataset', dataset['dataset'], steps)
    else:
        yield Part(key, dataset, DATASETS), steps


def _extent_after(steps: Sequence[Part]) -> _Extent:
    extent = _Extent('picture')
    for step in steps:
        kind = step.cls.__name__ if step.cls is not None else ''
        config = step.config
        if kind == 'RandomCrop':
            size = _pair(config.get('crop_size'))
            whole = extent.kind == 'fixed' and extent.size and size and not _exceeds(size, extent.size)
            extent = _Extent('fixed' if whole else 'within', size, step)
        elif kind == 'Resize' and config.get('scale') is not None and not config.get('keep_ratio', False):
            size = _pair(config['scale'])
            extent = _Extent('fixed', size and size[::-1], step)
        elif (
            kind == 'RandomResize'
            and config.get('ratio_range')
            and isinstance(config.get('scale'), (tuple, list))
        ):
            extent = _random_extent(step)
        elif kind not in _KEEP_SIZE:
            extent = _Extent('unknown')
    return extent


def _random_extent(step: Part) -> _Extent:
    scale, (low, high) = step.config['scale'], step.config['ratio_range']
    size = _pair(scale)
    if low == high or size is None:
        return _Extent('unknown')
    return _Extent('random', (int(size[1] * high), int(size[0] * high)), step)


def _two_sizes(
    leaf: Part, steps: Sequence[Part], padded: Size
) -> tuple[tuple[str, Size], tuple[str, Size]] | None:
    """Two pictures that padding does not make one size; None where there are none or the files cannot be listed."""
    if leaf.cls is None or not issubclass(leaf.cls, BaseDataset):
        return None
    loader = next((step for step in steps if step.cls is not None and step.cls.__name__ in _LOADERS), None)
    if loader is None:
        return None
    seen: dict[Size, tuple[str, Size]] = {}
    try:
        sizes = _LoadedSizes(loader)
        entries = DATASETS.build({**leaf.config, 'pipeline': [], 'serialize_data': False})
        for number in range(len(entries)):
            path = entries.get_data_info(number)['img_path']
            size = sizes.of(path)
            after = max(size[0], padded[0]), max(size[1], padded[1])
            seen.setdefault(after, (path, size))
            if len(seen) > 1:
                first, second = seen.values()
                return first, second
    except Exception:
        # What is wrong with the data is told by the data check and by the loader, with the file's name.
        return None
    return None


class _LoadedSizes:
    """The sizes that pictures are loaded at: from their headers, and from the loader where a tag says how to turn them.

    Whether a loader turns depends on its options, on versions of libraries and on formats; so it is asked with the
    first picture of each kind.

    Args:
        loader: The transform that loads pictures.
    """

    def __init__(self, loader: Part) -> None:
        self._load = TRANSFORMS.build(dict(loader.config))
        self._swaps: dict[tuple[Any, ...], bool] = {}

    def of(self, path: str) -> Size:
        """(height, width) of a picture as it is loaded."""
        with Image.open(path) as picture:
            width, height = picture.size
            tag = picture.getexif().get(_ORIENTATION, 1)
            kind = picture.format, tag, 'exif' in picture.info
        if tag == 1 or width == height:
            return height, width
        if kind not in self._swaps:
            self._swaps[kind] = self._load({'img_path': path})['img'].shape[:2] == (width, height)
        return (width, height) if self._swaps[kind] else (height, width)


def _pair(value: Any) -> Size | None:
    if isinstance(value, int):
        return value, value
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(item, int) for item in value):
        return value[0], value[1]
    return None


def _exceeds(size: Size, limit: Size) -> bool:
    return size[0] > limit[0] or size[1] > limit[1]
