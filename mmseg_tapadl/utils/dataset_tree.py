"""The data sets inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers that hold them as ``datasets`` or ``dataset``, as configs or built."""
    return (leaf for _, leaf in keyed_leaves('', dataset))


def keyed_leaves(key: str, dataset: Any) -> Iterator[tuple[str, Any]]:
    """As :func:`leaf_datasets`, each with its key: ``<key>.datasets.0.dataset``, ..."""
    inner = _keyed_inner(dataset)
    if not inner:
        yield key, dataset
    for name, part in inner.items():
        yield from keyed_leaves(f'{key}.{name}', part)


def datasets_of_loaders(config: Mapping[str, Any], splits: Sequence[str]) -> list[Any]:
    """The configs of the data sets that the loaders of some splits (``train``, ``val``, ``test``) read."""
    loaders = [config.get(f'{split}_dataloader') or {} for split in splits]
    return [leaf for loader in loaders if loader.get('dataset') for leaf in leaf_datasets(loader['dataset'])]


def wrapper_datasets(dataset: Any) -> Iterator[Any]:
    """The wrappers around the leaves, the outermost first."""
    inner = inner_datasets(dataset)
    if inner:
        yield dataset
    for part in inner:
        yield from wrapper_datasets(part)


def inner_datasets(dataset: Any) -> list[Any]:
    """What a wrapper holds; empty for a data set that is no wrapper."""
    return list(_keyed_inner(dataset).values())


def _keyed_inner(dataset: Any) -> dict[str, Any]:
    if isinstance(dataset, dict):
        # A data set of another kind may call something else by these names.
        several, one = dataset.get('datasets'), dataset.get('dataset')
        if isinstance(several, (list, tuple)):
            return {
                f'datasets.{number}': part for number, part in enumerate(several) if isinstance(part, dict)
            }
        return {'dataset': one} if isinstance(one, dict) else {}
    several, one = getattr(dataset, 'datasets', None), getattr(dataset, 'dataset', None)
    if several is not None:
        return {f'datasets.{number}': part for number, part in enumerate(several)}
    return {} if one is None else {'dataset': one}
