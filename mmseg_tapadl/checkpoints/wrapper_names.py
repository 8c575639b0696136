"""Names of weights as the model has them, whatever a model was wrapped in when it was saved."""

import re
from collections import Counter, OrderedDict
from collections.abc import Container, Iterable, Mapping
from itertools import combinations

import torch

# Put between the parts of a name by torch itself; no model of anybody's has parts of these names.
_TORCH = ('_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_forward_module')
_TORCH_PART = re.compile(rf'(?:(?<=\.)|^)(?:{"|".join(_TORCH)})\.')
# What averaging wrappers (torch's, mmengine's) count beside the weights.
_COUNTERS = ('n_averaged', 'steps')
# What stands before every name when a wrapper, a trainer or a larger model was saved.
_IN_FRONT = {*_TORCH, 'module', 'model', 'ema', 'ema_model', 'net', 'network', 'backbone', 'encoder'}


def weights_of(checkpoint: Mapping) -> 'Weights':
    """The weights within a checkpoint: under ``state_dict``, ``model`` or ``model_state_dict``, or bare.

    Parts of names that compiling, sharding or distributed training leave are taken off, unless two weights would
    then share a name.

    Args:
        checkpoint: As :func:`~mmseg_tapadl.checkpoints.checkpoint_io.read_checkpoint` returns it.

    Returns:
        Name to tensor, in the file's order; what is no tensor is left out. The version numbers that
        ``load_state_dict`` looks for (``_metadata``) are kept.
    """
    found = [checkpoint.get(key) for key in ('state_dict', 'model', 'model_state_dict')]
    state = next((value for value in found if isinstance(value, Mapping)), checkpoint)
    weights = {str(key): value for key, value in state.items() if isinstance(value, torch.Tensor)}
    if any(key.startswith('module.') for key in weights):
        weights = {key: value for key, value in weights.items() if key not in _COUNTERS}
    names = _without_torch_parts(weights)
    while names and all(name.startswith('module.') for name in names.values()):
        names = {key: name.removeprefix('module.') for key, name in names.items()}
    plain = Weights((names[key], value) for key, value in weights.items())
    plain._metadata = {
        _TORCH_PART.sub('', f'{key}.').removeprefix('module.').rstrip('.'): value
        for key, value in (getattr(state, '_metadata', None) or {}).items()
    }
    return plain


def without_torch_parts(state: Mapping) -> dict:
    """The same under the names that the weights had before the model was compiled or sharded."""
    names = _without_torch_parts(state)
    return {names[key]: value for key, value in state.items()}


def _without_torch_parts(names: Iterable) -> dict:
    plain = {name: _TORCH_PART.sub('', name) if isinstance(name, str) else name for name in names}
    # Two weights of one name could not be told apart.
    return plain if len(set(plain.values())) == len(plain) else {name: name for name in plain}


class Weights(OrderedDict):
    """Weights by name that carry the version numbers ``load_state_dict`` looks for."""

    _metadata: dict


def prefix_before(names: Iterable[str], own: Container[str]) -> str:
    """What stands before a model's names in a file: ``''``, ``'backbone.'``, ``'module.backbone.'``, ...

    Args:
        names: Of the file's weights.
        own: The names that the model has.

    Returns:
        Of the prefixes that wrappers leave the one behind which most of the model's names are found.
    """
    votes: Counter[str] = Counter()
    for name in names:
        prefix, rest, more = '', name, True
        while more:
            votes[prefix] += rest in own
            part, dot, rest = rest.partition('.')
            more = bool(dot) and part in _IN_FRONT
            prefix += f'{part}.'
    return max(votes, key=lambda prefix: (votes[prefix], -len(prefix)), default='')


def as_named_in(weights: Mapping[str, torch.Tensor], own: Container[str]) -> Weights:
    """Weights under a model's names: without what stands before them, and without distributed training's ``module.``.

    Args:
        weights: As :func:`weights_of` returns them.
        own: The names that the model has. A part called ``module`` that the model itself has stays.

    Returns:
        The same tensors in the same order; names that fit nothing stay, as do all where two would become one.
    """
    prefix = prefix_before(weights, own)
    names = {key: key.removeprefix(prefix) for key in weights}
    if len(set(names.values())) < len(names):
        names = {key: key for key in weights}
    taken = set(names.values())
    for key, name in names.items():
        if name not in own:
            found = next((bare for bare in _without_modules(name) if bare in own and bare not in taken), name)
            names[key] = found
            taken.add(found)
    modules = {key.rpartition('.')[0]: name.rpartition('.')[0] for key, name in names.items()}
    named = Weights((names[key], value) for key, value in weights.items())
    named._metadata = {
        modules.get(key, f'{key}.'.removeprefix(prefix).rstrip('.')): value
        for key, value in (getattr(weights, '_metadata', None) or {}).items()
    }
    return named


def _without_modules(name: str) -> Iterable[str]:
    """The name without one, two, ... of its parts called ``module``."""
    parts = name.split('.')
    places = [place for place, part in enumerate(parts) if part == 'module']
    for count in range(1, len(places) + 1):
        for left_out in combinations(places, count):
            yield '.'.join(part for place, part in enumerate(parts) if place not in left_out)
