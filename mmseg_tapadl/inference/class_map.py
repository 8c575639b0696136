"""The ids of a model as the ids of a data set, by the names of the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from mmseg_tapadl.evaluation.class_counts import NO_CLASS
from mmseg_tapadl.inference.interface import Prediction
from mmseg_tapadl.utils import InputError, shown
from mmseg_tapadl.utils.text import plain_word


@dataclass(frozen=True)
class ClassMap:
    """Which class of the data set each class of the model is.

    Attributes:
        targets: By id of the model: an id of the data set, or ``NO_CLASS`` where the data set has no such class (always
            wrong).
        num_classes: C, of the data set.
        renamed: Pairs of names that are not the same text, to be shown.
    """

    targets: tuple[int, ...]
    num_classes: int
    renamed: tuple[tuple[str, str], ...] = ()

    def apply(self, prediction: Prediction) -> Prediction:
        """A prediction in ids of the data set; the confidence stays that of the class that the model chose."""
        if self.targets == tuple(range(self.num_classes)):
            return prediction
        table = torch.tensor(self.targets, device=prediction.labels.device)
        labels = table[prediction.labels.long()]
        if prediction.logits is not None and sorted(self.targets) == list(range(self.num_classes)):
            # Each class is one of the other's: only their order differs.
            order = table.argsort().to(prediction.logits.device)
            return Prediction(labels, logits=prediction.logits[order])
        probabilities = prediction.probabilities
        confidence = prediction.confidence
        if probabilities is not None:
            if NO_CLASS in self.targets:
                probabilities = None  # without those classes they would not sum to 1
            else:
                summed = probabilities.new_zeros(self.num_classes, *probabilities.shape[1:])
                probabilities = summed.index_add_(0, table.to(summed.device), probabilities)
        return Prediction(labels, confidence=confidence, probabilities=probabilities)


def map_classes(
    names: Sequence[str], wanted: Sequence[str], *, table: Mapping[str, str | None] | None = None, model: str
) -> ClassMap:
    """Finds each class of a model in a data set.

    Names that differ in case, spaces, ``_`` and ``-`` alone are the same class. ``table`` decides for the names in it.

    Args:
        names: Of the model's classes, by id.
        wanted: Of the data set's classes, by id.
        table: Name of the model: name of the data set, or None where it has none.
        model: The model, for errors.

    Raises:
        InputError: A name that neither the data set nor ``table`` knows, a name in ``table`` that nobody has, two names
            that could both be meant, or a class of the data set that the model does not have.
    """
    table = dict(table or {})
    by_word: dict[str, list[int]] = {}
    for number, name in enumerate(wanted):
        by_word.setdefault(plain_word(name), []).append(number)
    exact = {name: number for number, name in enumerate(wanted)}

    def id_of(name: str) -> int | None:
        if name in exact:
            return exact[name]
        found = by_word.get(plain_word(name), [])
        if len(found) > 1:
            raise InputError(
                f'{model}: class {name!r} could be {" or ".join(repr(wanted[number]) for number in found)} of the data set; '
                'say which with --class-map'
            )
        return found[0] if found else None

    strangers = [name for name in table if name not in names]
    if strangers:
        raise InputError(
            f'--class-map names {_listed(strangers)}, which {model} does not have: it has {_listed(names)}'
        )
    targets, unknown, renamed = [], [], []
    for name in names:
        told = table.get(name, name)
        target = NO_CLASS if told is None else id_of(str(told))
        if target is None and name in table:
            raise InputError(
                f'--class-map maps {name!r} to {told!r}, which the data set does not have: it has {_listed(wanted)}'
            )
        if target is None:
            unknown.append(name)
            continue
        targets.append(target)
        new = 'none of the data set' if target == NO_CLASS else wanted[target]
        if new != name:
            renamed.append((name, new))
    if unknown:
        raise InputError(
            f'{model} has classes that the data set does not have: {_listed(unknown)}. The data set has {_listed(wanted)}. '
            'Give --class-map FILE, a YAML file with a line "name of the model: name of the data set" for each '
            '(null: none of them, always counted as wrong)'
        )
    missing = [name for number, name in enumerate(wanted) if number not in targets]
    if missing:
        raise InputError(
            f'{model} lacks classes of the data set: {_listed(missing)}; it has {_listed(names)}. It cannot be scored on this '
            'data set'
        )
    return ClassMap(tuple(targets), len(wanted), tuple(renamed))


def read_class_map(path: str | Path) -> dict[str, str | None]:
    """Reads a YAML file of ``name: name``.

    Raises:
        InputError: The file is missing, no YAML, names a class twice, or holds anything else.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
        content = yaml.safe_load(text)
        twice = _named_twice(yaml.compose(text, Loader=yaml.SafeLoader))
    except OSError as error:
        raise InputError(f'{shown(path)}: cannot be read ({error.strerror})') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f'{shown(path)}: is no YAML: {" ".join(str(error).split())}') from error
    if twice is not None:
        raise InputError(f'{shown(path)}: {twice!r} stands in it twice')
    if not isinstance(content, dict) or not content:
        raise InputError(f'{shown(path)}: must hold lines "name of the model: name of the data set"')
    for name, told in content.items():
        if not isinstance(name, str) or not isinstance(told, (str, type(None))):
            raise InputError(f'{shown(path)}: {name!r}: {told!r} is no pair of names; put quotes around each')
    return content


def _named_twice(node: yaml.Node | None) -> str | None:
    """A key that a mapping has more than once; YAML itself keeps the last of them and is silent."""
    if not isinstance(node, yaml.MappingNode):
        return None
    names = [key.value for key, _ in node.value]
    return next((name for name in names if names.count(name) > 1), None)


def _listed(names: Sequence[str]) -> str:
    named = ', '.join(map(str, names[:24]))
    return named + (f', ... ({len(names)})' if len(names) > 24 else '')
