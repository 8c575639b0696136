"""Which classes the parts of a run speak of, and in which order.

Class number i is the i-th name of a data set's ``metainfo['classes']``. Where the data set's own class
(``CityscapesDataset``, ...) knows names and the config gives others of them, the labels are renumbered on loading,
so the list in use always says what the numbers mean.
"""

import copy
from collections.abc import Sequence
from typing import Any

from mmengine.dataset import BaseDataset
from mmseg.datasets import BaseCDDataset, BaseSegDataset
from mmseg.models.decode_heads import STDCHead

from mmseg_tapadl.agreement.parts import MISSING, Part, data_sets, heads, transforms
from mmseg_tapadl.utils import InputError

_SHOWN = 12
_SHOWN_OF_MORE = 4


class ClassesDifferError(InputError):
    """Two parts of a run speak of different classes; the message holds both lists."""


def check_same_classes(
    names: Sequence[str], wanted: Sequence[str], *, where: str, source: str, trained: bool = False
) -> None:
    """Refuses class names that are not the wanted ones in their order.

    Args:
        names: The names at hand.
        wanted: What they must be.
        where: Whose names they are, for the message.
        source: Who has the wanted ones.
        trained: Whether ``source`` is a file of weights that were trained on them.

    Raises:
        ClassesDifferError: With both lists and the first difference.
    """
    names, wanted = [str(name) for name in names], [str(name) for name in wanted]
    if names == wanted:
        return
    raise ClassesDifferError(
        f'{source} {"was trained on" if trained else "has"} other classes ({_listed(wanted)}) than {where} has '
        f'({_listed(names)}): {_first_difference(wanted, names)}; give {where} the classes of {source} in their order '
        '(metainfo=dict(classes=...)), with labels that use those ids'
    )


def compare_classes(
    cfg: Any, splits: Sequence[str], trained: Sequence[str] | None, weights: str
) -> tuple[list[str], list[str]]:
    """Compares the class names of weights, data sets and heads.

    Args:
        cfg: The config of the run.
        splits: The splits that the run uses; none for a prediction.
        trained: The classes that the weights know, where they tell.
        weights: Their file, for messages.

    Returns:
        The faults and the notes, one line each. What tells no names is not compared.
    """
    faults: list[str] = []
    reference, source = ([str(name) for name in trained], weights) if trained else (None, '')
    for split in splits:
        for leaf in data_sets(cfg, split):
            try:
                names = names_of(leaf)
                if names is None:
                    # Other classes may get their names when they are built; the runner compares those.
                    if split != 'train' and leaf.cls in (BaseSegDataset, BaseCDDataset):
                        faults.append(
                            f'{leaf.key} tells no class names, so there is nothing to score: write '
                            f'{leaf.key}.metainfo=dict(classes=(...))'
                        )
                elif reference is None:
                    reference, source = names, leaf.key
                else:
                    check_same_classes(names, reference, where=leaf.key, source=source, trained=bool(trained))
            except InputError as error:
                faults.append(str(error))
    if not splits and reference is None:
        reference, source = _described(cfg)
    if reference is not None:
        faults += _class_counts(cfg, reference, source)
        faults += _too_few_in_transforms(cfg, splits, len(reference))
    notes = _of_a_later_test(cfg, splits, reference, source)
    if weights and not trained and reference is not None:
        notes.append(f'{weights} does not tell its classes: only their number is compared')
    return faults, notes


def _class_counts(cfg: Any, names: Sequence[str], source: str) -> list[str]:
    """One line for every head that has another number of classes than there are names.

    A head for binary segmentation with one output counts 2 classes (``num_classes=2, out_channels=1``).
    """
    return [
        f'{head.key}.num_classes is {count}, but {source} tells of other classes ({_listed(names)}): '
        f'write {head.key}.num_classes={len(names)}'
        for head in heads(cfg)
        if (count := head.argument('num_classes')[0]) is not MISSING
        and isinstance(count, int)
        and count != len(names)
        # It learns the edges between the classes, not the classes.
        and not (head.cls is not None and issubclass(head.cls, STDCHead))
    ]


def _described(cfg: Any) -> tuple[list[str] | None, str]:
    """The names that a prediction takes from the config where the weights tell none."""
    for split in ('test', 'val', 'train'):
        for leaf in data_sets(cfg, split):
            names = names_of(leaf)
            if names:
                return names, leaf.key
    return None, ''


def _of_a_later_test(cfg: Any, splits: Sequence[str], reference: list[str] | None, source: str) -> list[str]:
    """A test set of other classes does not harm the training, but its weights could not be tested on it."""
    notes: list[str] = []
    for leaf in data_sets(cfg, 'test') if 'train' in splits and reference is not None else ():
        try:
            names = names_of(leaf)
            if names is not None and reference is not None:
                check_same_classes(names, reference, where=leaf.key, source=source)
        except InputError as error:
            notes.append(f'{error} (a test of the trained weights will be refused)')
    return notes


def names_of(leaf: Part) -> list[str] | None:
    """The class names of a data set; None where only building it would tell.

    Raises:
        InputError: When the config gives names that the data set's class does not have.
    """
    cls: Any = leaf.cls
    if cls is None or not issubclass(cls, BaseDataset):
        return None
    metainfo = leaf.config.get('metainfo')
    names = cls._load_metainfo(copy.deepcopy(metainfo)).get('classes')
    if names is None or isinstance(names, str):
        return None
    if hasattr(cls, 'get_label_map'):
        try:
            cls.get_label_map(list(names))
        except ValueError:
            unknown = [str(name) for name in names if name not in cls.METAINFO['classes']]
            raise InputError(
                f'{leaf.key}.metainfo.classes names {", ".join(unknown[:_SHOWN])}, which {cls.__name__} does not have: '
                f'it has {_listed(cls.METAINFO["classes"])}'
            ) from None
    return [str(name) for name in names]


def _too_few_in_transforms(cfg: Any, splits: Sequence[str], count: int) -> list[str]:
    """Loading that would refuse valid labels because it knows of fewer classes."""
    faults = []
    for part in (part for split in splits for part in transforms(cfg, split)):
        value, stated = part.argument('num_classes')
        if not isinstance(value, int) or value >= count:
            continue
        if stated:
            faults.append(
                f'{part.key}.num_classes is {value}, but there are {count} classes: write {part.key}.num_classes={count}'
            )
        else:
            part.config['num_classes'] = count
    return faults


def _listed(names: Sequence[str]) -> str:
    shown = list(names) if len(names) <= _SHOWN else [*names[:_SHOWN_OF_MORE], '...', names[-1]]
    return f'{len(names)}: {", ".join(map(str, shown))}'


def _first_difference(first: list[str], second: list[str]) -> str:
    for number, (name, other) in enumerate(zip(first, second, strict=False)):
        if name != other:
            return f'class {number} is {name!r} in the first and {other!r} in the second'
    longer, which, other = (
        (first, 'first', 'second') if len(first) > len(second) else (second, 'second', 'first')
    )
    number = min(len(first), len(second))
    return f'class {number} is {longer[number]!r} in the {which} and missing in the {other}'
