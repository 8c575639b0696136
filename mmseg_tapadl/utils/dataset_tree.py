"""The data sets inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""

from collections.abc import Iterator
from typing import Any


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers that hold them as ``datasets`` or ``dataset``, as configs or built."""
    inner = inner_datasets(dataset)
    if not inner:
        yield dataset
    for part in inner:
        yield from leaf_datasets(part)


def wrapper_datasets(dataset: Any) -> Iterator[Any]:
    """The wrappers around the leaves, the outermost first."""
    inner = inner_datasets(dataset)
    if inner:
        yield dataset
    for part in inner:
        yield from wrapper_datasets(part)


def inner_datasets(dataset: Any) -> list[Any]:
    """What a wrapper holds; empty for a data set that is no wrapper."""
    parts, inner = (
        (dataset.get(key) if isinstance(dataset, dict) else getattr(dataset, key, None))
        for key in ('datasets', 'dataset')
    )
    if parts is not None:
        return list(parts)
    return [] if inner is None else [inner]
