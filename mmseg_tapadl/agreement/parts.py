"""The parts of a config that tell or use the same facts, each with the key a person finds it under.

Everything here reads configs only: no data set, model or metric is built and no file of a data set is opened.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.registry import Registry
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS

from mmseg_tapadl.utils.dataset_tree import keyed_leaves

SPLITS = ('train', 'val', 'test')
MISSING: Any = object()


@dataclass(frozen=True)
class Part:
    """One ``dict(type=...)`` of a config.

    Attributes:
        key: Where it stands: ``train_dataloader.dataset``, ``model.decode_head``, ...
        config: The dict itself, not a copy.
        registry: Where its type is looked up.
    """

    key: str
    config: dict
    registry: Registry

    @property
    def cls(self) -> type | None:
        """The class that its type names; None for an unknown one, which building the part will report."""
        kind = self.config.get('type')
        found = self.registry.get(kind) if isinstance(kind, str) else kind
        return found if isinstance(found, type) else None

    def argument(self, name: str) -> tuple[Any, bool]:
        """The value an argument will have, and whether the config states it.

        Returns:
            ``(value, True)``, ``(default, False)``, or ``(MISSING, False)`` for what the class does not take.
        """
        if name in self.config:
            return self.config[name], True
        return (MISSING, False) if self.cls is None else (_default(self.cls, name), False)


def _default(cls: type, name: str) -> Any:
    for base in cls.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(vars(base)['__init__']).parameters
        if name in parameters:
            return parameters[name].default
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            return MISSING
    return MISSING


def data_sets(cfg: Any, split: str) -> list[Part]:
    """The data sets of a split that hold pictures, looked for in wrappers (joined, repeated, balanced, mixed)."""
    loader = cfg.get(f'{split}_dataloader') or {}
    dataset = loader.get('dataset')
    if not isinstance(dataset, dict):
        return []
    return [Part(key, leaf, DATASETS) for key, leaf in keyed_leaves(f'{split}_dataloader.dataset', dataset)]


def transforms(cfg: Any, split: str) -> list[Part]:
    """Every transform of a split, also those inside other transforms and in the pipelines of wrappers.

    Test time augmentation, which a test may be asked to use, belongs to the test split.
    """
    dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
    found = list(_transforms(f'{split}_dataloader.dataset', dataset)) if isinstance(dataset, dict) else []
    return found + list(_in_list('tta_pipeline', cfg.get('tta_pipeline') if split == 'test' else None))


def _transforms(key: str, dataset: dict) -> Iterator[Part]:
    yield from _in_list(f'{key}.pipeline', dataset.get('pipeline'))
    for number, part in enumerate(dataset.get('datasets') or ()):
        if isinstance(part, dict):
            yield from _transforms(f'{key}.datasets.{number}', part)
    if isinstance(dataset.get('dataset'), dict):
        yield from _transforms(f'{key}.dataset', dataset['dataset'])


def _in_list(key: str, items: Any) -> Iterator[Part]:
    for number, item in enumerate(items or ()):
        inner = f'{key}.{number}'
        if isinstance(item, (list, tuple)):
            yield from _in_list(inner, item)
        elif isinstance(item, dict):
            yield Part(inner, item, TRANSFORMS)
            yield from _in_list(f'{inner}.transforms', item.get('transforms'))


def segmentor(cfg: Any) -> Part | None:
    """The model, out of the wrapper of test time augmentation."""
    model, key = cfg.get('model'), 'model'
    while isinstance(model, dict) and isinstance(model.get('module'), dict):
        model, key = model['module'], f'{key}.module'
    return Part(key, model, MODELS) if isinstance(model, dict) else None


def preprocessor(cfg: Any) -> Part | None:
    """The data preprocessor: the model's own, else the one at the config's top."""
    model = segmentor(cfg)
    if model is not None and isinstance(model.config.get('data_preprocessor'), dict):
        return Part(f'{model.key}.data_preprocessor', model.config['data_preprocessor'], MODELS)
    top = cfg.get('data_preprocessor')
    return Part('data_preprocessor', top, MODELS) if isinstance(top, dict) else None


def heads(cfg: Any) -> list[Part]:
    """Decode heads and auxiliary heads, one or several of each, also those inside other heads."""
    model = segmentor(cfg)
    if model is None:
        return []
    return [
        head
        for name in ('decode_head', 'auxiliary_head')
        for head in _heads(f'{model.key}.{name}', model.config.get(name))
    ]


def _heads(key: str, node: Any) -> Iterator[Part]:
    if isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from _heads(f'{key}.{number}', item)
    elif isinstance(node, dict):
        if 'type' in node and ('num_classes' in node or 'loss_decode' in node):
            yield Part(key, node, MODELS)
        for name, item in node.items():
            if isinstance(item, (dict, list, tuple)):
                yield from _heads(f'{key}.{name}', item)


def losses(head: Part) -> list[Part]:
    """What a head's ``loss_decode`` consists of."""
    found = head.config.get('loss_decode')
    if isinstance(found, dict):
        return [Part(f'{head.key}.loss_decode', found, MODELS)]
    return [
        Part(f'{head.key}.loss_decode.{number}', item, MODELS)
        for number, item in enumerate(found or ())
        if isinstance(item, dict)
    ]


def evaluators(cfg: Any, split: str) -> list[Part]:
    """The metrics of a split, one or several; training has none."""
    name = f'{split}_evaluator'
    found = cfg.get(name)
    if isinstance(found, dict) and isinstance(found.get('metrics'), (list, tuple, dict)):
        # The evaluator itself written out: dict(type='Evaluator', metrics=[...]).
        name, found = f'{name}.metrics', found['metrics']
    if isinstance(found, dict):
        return [Part(name, found, METRICS)]
    return [
        Part(f'{name}.{number}', item, METRICS)
        for number, item in enumerate(found or ())
        if isinstance(item, dict)
    ]
