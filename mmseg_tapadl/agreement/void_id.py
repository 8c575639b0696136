"""The label value of pixels that do not count, which mmseg asks for in many places of a config.

The data set says what it is (``ignore_index``, 255 where nothing is said) and the others follow where the config leaves
them out. A place that says another value is a fault.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.dataset import BaseDataset

from mmseg_tapadl.agreement.parts import (
    SPLITS,
    Part,
    data_sets,
    evaluators,
    heads,
    losses,
    preprocessor,
    transforms,
)

USUAL = 255


@dataclass(frozen=True)
class _Place:
    """One argument that holds the id.

    Attributes:
        part: Whose argument it is.
        name: ``ignore_index``, ``seg_pad_val``, ...
        value: What it is, stated or not.
        stated: Whether the config states it. Paddings of 255, which every base config of mmseg writes down,
            count as not stated.
        may_be_class: Whether it may also be a class that is left out on purpose (some losses offer that).
    """

    part: Part
    name: str
    value: int
    stated: bool
    may_be_class: bool = False

    @property
    def text(self) -> str:
        return f'{self.part.key}.{self.name}={self.value}'

    def become(self, void: int) -> None:
        """Sets the argument in the config."""
        if self.name == 'pad_val.seg':
            old = self.part.config.get('pad_val')
            pads = dict(old) if isinstance(old, dict) else {'img': 0 if old is None else old}
            self.part.config['pad_val'] = {**pads, 'seg': void}
        else:
            self.part.config[self.name] = void


def settle_void(cfg: Any, splits: Sequence[str], num_classes: int | None) -> tuple[list[str], list[str]]:
    """Makes the parts of a run agree on the id of void pixels, or tells which do not.

    Args:
        cfg: The config of the run; places that it leaves out are set where the id is not 255.
        splits: The splits that the run uses.
        num_classes: Number of classes, None where it is not known.

    Returns:
        The faults and the notes, one line each.
    """
    classes = range(num_classes or 0)
    data = [place for split in splits for place in _of_data_sets(cfg, split)]
    users = _users(cfg, splits)
    said, from_data = _said(cfg, splits, data, users)
    values = list(dict.fromkeys(place.value for place in said))
    if len(values) > 1:
        return [_differ([*said, *(place for place in users if place.stated and place not in said)])], []
    void = values[0] if values else USUAL
    if void in classes:
        return _void_is_class(void, said[0], data, users, from_data), []
    wrong = [
        place
        for place in [*data, *users]
        if place.stated and place.value != void and not (place.may_be_class and place.value in classes)
    ]
    if wrong:
        return [_differ([*(said or data[:1]), *wrong])], []
    if void == USUAL:
        return [], []
    faults = [fault for place in data if (fault := _forced_to_usual(place.part, void))]
    if faults:
        return faults, []
    followers = [place for place in [*data, *users] if place.value != void and not place.stated]
    for place in followers:
        place.become(void)
    if not followers:
        return [], []
    return [], [
        f'void is {void} ({said[0].part.key}.{said[0].name}); these follow: '
        + ', '.join(f'{place.part.key}.{place.name}' for place in followers)
    ]


def reset_void(cfg: Any, splits: Sequence[str]) -> list[str]:
    """Gives every place that says another id of void pixels that of the data sets, which have taken the place of others.

    Returns:
        What was changed, one line each.
    """
    data = [place for split in splits for place in _of_data_sets(cfg, split)]
    void = data[0].value if data else USUAL
    others = [place for place in _users(cfg, splits) if place.value != void]
    for place in others:
        place.become(void)
    return [f'{place.part.key}.{place.name} is {void}, not {place.value}' for place in others]


def void_source(cfg: Any, splits: Sequence[str]) -> str:
    """The key that says what void is, as written in a config that is not settled yet; ``'default'`` where none does."""
    data = [place for split in splits for place in _of_data_sets(cfg, split)]
    said, _ = _said(cfg, splits, data, _users(cfg, splits))
    return f'{said[0].part.key}.{said[0].name}' if said else 'default'


def _said(
    cfg: Any, splits: Sequence[str], data: Sequence[_Place], users: Sequence[_Place]
) -> tuple[list[_Place], bool]:
    """The places that say what void is, and whether they are data sets."""
    said = [place for place in data if place.stated] or [
        # A test may stand on a data set that says nothing, beside the one that was trained on.
        place
        for split in SPLITS
        if split not in splits
        for place in _of_data_sets(cfg, split)
        if place.stated
    ]
    if said:
        return said, True
    return [
        place for place in users if place.stated and place.name == 'ignore_index' and not place.may_be_class
    ], False


def compare_zero_labels(cfg: Any, splits: Sequence[str]) -> list[str]:
    """Compares who counts label 0 as void (``reduce_zero_label``): data sets of one kind, and their loading.

    Args:
        cfg: The config of the run.
        splits: The splits that the run uses.

    Returns:
        The faults, one line each.
    """
    faults = []
    first: dict[Any, tuple[Part, Any]] = {}
    for split in splits:
        values = set()
        for leaf in data_sets(cfg, split):
            value = leaf.argument('reduce_zero_label')[0]
            if not isinstance(value, bool):
                continue
            values.add(value)
            other, known = first.setdefault(leaf.cls, (leaf, value))
            if known != value:
                faults.append(
                    f'{other.key}.reduce_zero_label is {known}, but {leaf.key}.reduce_zero_label is {value}: the same label '
                    'would be two classes; write the same in both'
                )
        for step in transforms(cfg, split):
            value = step.config.get('reduce_zero_label')
            if isinstance(value, bool) and values and value not in values:
                faults.append(
                    f'{step.key}.reduce_zero_label is {value}, but its data set has {not value}: leave it out of the '
                    'pipeline, and write it in the data set'
                )
    return faults


def scored_void(cfg: Any, split: str = 'test') -> int:
    """The label value that a split's score leaves out: that of its first metric that has one, else the data set's."""
    for place in _arguments(evaluators(cfg, split), 'ignore_index'):
        return place.value
    for place in _of_data_sets(cfg, split):
        return place.value
    return USUAL


def _of_data_sets(cfg: Any, split: str) -> list[_Place]:
    return _arguments(data_sets(cfg, split), 'ignore_index')


def _users(cfg: Any, splits: Sequence[str]) -> list[_Place]:
    """Every place beside the data sets that holds the id."""
    places: list[_Place] = []
    for split in splits:
        found = transforms(cfg, split)
        places += _arguments(found, 'ignore_index')
        places += _arguments(found, 'seg_pad_val')
        places += [place for part in found if (place := _of_pad(part))]
        places += _arguments(evaluators(cfg, split), 'ignore_index')
    data_preprocessor = preprocessor(cfg)
    if data_preprocessor is not None:
        places += _arguments([data_preprocessor], 'seg_pad_val')
    for head in heads(cfg):
        places += _arguments([head], 'ignore_index')
        places += _arguments(losses(head), 'ignore_index', may_be_class=True)
        places += _arguments(losses(head), 'ignore_label')
    return places


def _arguments(parts: Sequence[Part], name: str, *, may_be_class: bool = False) -> list[_Place]:
    places = []
    for part in parts:
        value, stated = part.argument(name)
        # None: nothing is left out. Another default than 255: the argument means something else.
        if isinstance(value, int) and (stated or value == USUAL):
            habit = name == 'seg_pad_val' and value == USUAL
            places.append(_Place(part, name, value, stated and not habit, may_be_class))
    return places


def _of_pad(part: Part) -> _Place | None:
    """The padding of labels of mmcv's ``Pad``, whose ``pad_val`` is a number for pictures or a dict for both."""
    if part.cls is None or part.cls.__name__ != 'Pad':
        return None
    value = part.config.get('pad_val')
    seg = value.get('seg', USUAL) if isinstance(value, dict) else USUAL
    return _Place(part, 'pad_val.seg', seg, seg != USUAL) if isinstance(seg, int) else None


def _differ(places: Sequence[_Place]) -> str:
    listed = ', '.join(dict.fromkeys(place.text for place in places))
    return (
        f'void pixels have several ids: {listed}; write the same id in each of them, or only in the data sets '
        '(the others follow where they are left out)'
    )


def _void_is_class(
    void: int, first: _Place, data: Sequence[_Place], users: Sequence[_Place], from_data: bool
) -> list[str]:
    if from_data:
        return [
            f'{first.text} is a class, not void: the classes are numbered from 0; write an id behind the last class, '
            'such as 255'
        ]
    # One class is left out of loss and score on purpose: then by all of them, or the score is about something else.
    judges = [place for place in users if place.name == 'ignore_index' and not place.may_be_class]
    if all(place.value == void for place in judges if '_dataloader.' not in place.part.key):
        return []
    return [_differ([place for place in judges if '_dataloader.' not in place.part.key])]


def _forced_to_usual(data_set: Part, void: int) -> str:
    """Loading writes 255 where the first id is void or where classes are left out, whatever the id of void is."""
    cls: Any = data_set.cls
    if data_set.argument('reduce_zero_label')[0] is True:
        return f'{data_set.key}.reduce_zero_label=True turns id 0 into 255, but void is {void}: write ignore_index=255'
    if cls is not None and issubclass(cls, BaseDataset) and hasattr(cls, 'get_label_map'):
        names = cls._load_metainfo(data_set.config.get('metainfo')).get('classes')
        if names is not None and USUAL in (cls.get_label_map(list(names)) or {}).values():
            return (
                f'{data_set.key}.metainfo.classes leaves out classes of {cls.__name__}, whose pixels become 255, but void '
                f'is {void}: write ignore_index=255'
            )
    return ''
