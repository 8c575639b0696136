"""Which keys of a config anything reads: a misspelt one in a study would cost hours and change nothing."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from mmengine import registry as engine_registries
from mmengine.config import Config
from mmengine.registry import Registry
from mmseg import registry as mmseg_registries
from torch.utils.data import DataLoader

from mmseg_tapadl.engine.config import names_read
from mmseg_tapadl.utils.arguments import did_you_mean
from mmseg_tapadl.utils.config_values import ABSENT, Change

# What builders take out of a dict before its class sees the rest.
_OF_BUILDERS = frozenset({'type', '_scope_', '_delete_', 'priority'})
_OF_OPTIM_WRAPPER = frozenset(
    {'constructor', 'paramwise_cfg', 'optimizer', 'accumulative_counts', 'clip_grad', 'loss_scale', 'dtype'}
)
_OF_LOOPS = frozenset(
    {'by_epoch', 'max_iters', 'max_epochs', 'val_begin', 'val_interval', 'dynamic_intervals', 'fp16'}
)
_OF_LOADERS = frozenset(inspect.signature(DataLoader.__init__).parameters) | {
    *(
        'dataset',
        'sampler',
        'batch_sampler',
        'collate_fn',
        'worker_init_fn',
        'num_batch_per_epoch',
        'indices',
    ),
}
# Dicts without a type of their own, by where they stand.
_BY_PLACE = {
    'train_dataloader': _OF_LOADERS,
    'val_dataloader': _OF_LOADERS,
    'test_dataloader': _OF_LOADERS,
    'randomness': frozenset({'seed', 'deterministic', 'diff_rank_seed'}),
    'optim_wrapper': _OF_OPTIM_WRAPPER,
    'train_cfg': _OF_LOOPS,
}
# Those that mmengine has by itself; a hook of another name brings its type.
_HOOK_NAMES = frozenset({'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'})


def unread_keys(config: Config, changes: Iterable[Change]) -> Iterator[str]:
    """Keys that changes bring in and nothing reads.

    A part with a ``type`` takes what its class takes; the top level what the runner and the tools read. Where that cannot be
    told (a class that hands its keywords on, a dict of free names) a key counts as read.

    Args:
        config: With the changes in it.
        changes: From the config without them to ``config``.

    Yields:
        One sentence a key, with the nearest that is read.
    """
    for change in changes:
        parts = change.key.split('.')
        if change.before == ABSENT:
            yield from _unread(config, parts[:-1], parts[-1])
        if parts[-1] == 'type' and _is_class(change.before) and not _is_class(change.now):
            yield f'{change.key}: nothing is registered as {change.now!r}'
        # A part that is new, or of another type, brings keys of its own.
        kind = parts[:-1] if parts[-1] == 'type' else parts
        node = _node(config, kind)
        if isinstance(node, dict):
            yield from _unread_below(config, kind, node)
        elif isinstance(node, (list, tuple)):
            for number, part in enumerate(node):
                if isinstance(part, dict):
                    yield from _unread_below(config, [*kind, str(number)], part)


def _unread_below(config: Config, place: list[str], node: dict) -> Iterator[str]:
    for name, value in node.items():
        yield from _unread(config, place, str(name))
        if isinstance(value, dict):
            yield from _unread_below(config, [*place, str(name)], value)


def _unread(config: Config, place: list[str], name: str) -> Iterator[str]:
    valid = _read_at(config, place)
    if valid is not None and name not in valid:
        key = '.'.join([*place, name])
        what = _type_name(_node(config, place)) or ('.'.join(place) if place else 'a config')
        yield f'{key}: {what} has no {name!r}{did_you_mean(name, valid)}'


def _read_at(config: Config, place: list[str]) -> frozenset[str] | None:
    """The keys that are read at a place; None where they may be any."""
    if not place:
        return frozenset(names_read(config))
    node = _node(config, place)
    by_place = _BY_PLACE.get('.'.join(place))
    if not isinstance(node, dict):
        return None
    if place == ['default_hooks']:
        return _HOOK_NAMES | {name for name, hook in node.items() if hook is None or 'type' in hook}
    if 'type' not in node:
        return by_place
    keywords = keywords_of(node['type'])
    return None if keywords is None else keywords | _OF_BUILDERS | (by_place or frozenset())


def keywords_of(kind: Any) -> frozenset[str] | None:
    """The keyword arguments of a class, its bases' among them where it hands keywords on.

    Args:
        kind: The class, or the name it is registered under.

    Returns:
        None where they may be any, or where nothing is registered under the name.
    """
    cls = _registered(kind) if isinstance(kind, str) else kind
    if cls is None:
        return None
    if not isinstance(cls, type):
        named = list(inspect.signature(cls).parameters.values()) if callable(cls) else []
        handed_on = any(p.kind is p.VAR_KEYWORD for p in named)
        return None if handed_on or not named else frozenset(p.name for p in named)
    found: set[str] = set()
    for base in cls.__mro__[:-1]:
        if '__init__' not in vars(base):
            continue
        try:
            parameters = list(inspect.signature(vars(base)['__init__']).parameters.values())[1:]
        except (TypeError, ValueError):
            return None
        found |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return frozenset(found)
    return None


def _registered(name: str) -> Any:
    bare = name.rpartition('.')[2]
    for module in (mmseg_registries, engine_registries):
        for registry in vars(module).values():
            if isinstance(registry, Registry) and (found := registry.module_dict.get(bare)) is not None:
                return found
    return None


def _is_class(kind: Any) -> bool:
    return not isinstance(kind, str) or _registered(kind) is not None


def _type_name(node: Any) -> str:
    kind = node.get('type') if isinstance(node, dict) else None
    return kind if isinstance(kind, str) else getattr(kind, '__name__', '')


def _node(config: Any, place: list[str]) -> Any:
    node = config
    for part in place:
        if isinstance(node, (list, tuple)):
            node = node[int(part)] if part.isdigit() and int(part) < len(node) else None
        elif hasattr(node, 'get'):
            node = node.get(part)
        else:
            return None
    return node
