"""Judging the ids of a label, and guessing why they are wrong."""

from collections.abc import Iterable, Mapping

from cityscapesscripts.helpers.labels import labels as CITYSCAPES_LABELS

VOID = 255
CITYSCAPES_CLASSES = sum(0 <= label.trainId < VOID for label in CITYSCAPES_LABELS)
_LABEL_IDS = frozenset(label.id % 256 for label in CITYSCAPES_LABELS)
CONVERSION = (
    'make trainIds of them with cityscapesScripts: '
    'CITYSCAPES_DATASET={root} python -m cityscapesscripts.preparation.createTrainIdLabelImgs '
    '(writes *_gtFine_labelTrainIds.png from the *_polygons.json)'
)


class IdRules:
    """Which stored ids are right, after the data set's mapping.

    Args:
        num_classes: Classes, numbered from 0.
        ignore_index: The id of void.
        label_map: Stored id to class, or None; as mmseg's ``LoadAnnotations`` applies it.
        reduce_zero_label: Whether 0 is void and the rest count from 1.
        data_root: For the advice.
    """

    kind = 'label_ids'

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_index: int = VOID,
        label_map: dict[int, int] | None = None,
        reduce_zero_label: bool = False,
        data_root: str = '.',
    ):
        self.num_classes, self.ignore_index, self.data_root = num_classes, ignore_index, data_root
        self.label_map, self.reduce_zero_label = label_map or {}, reduce_zero_label

    def final(self, stored: int) -> int:
        """The class that a stored id becomes when it is loaded."""
        value = stored
        if self.reduce_zero_label:
            value = VOID if value in (0, VOID) else value - 1
        return self.label_map.get(value, value)

    def is_void(self, stored: int) -> bool:
        """Whether it marks void pixels."""
        return self.final(stored) == self.ignore_index

    def wrong(self, stored: Iterable[int]) -> list[int]:
        """The stored ids that are neither a class nor void."""
        return [i for i in stored if not self.is_void(i) and not 0 <= self.final(i) < self.num_classes]

    def told(self, wrong: Mapping[int, int]) -> str:
        """Says what is wrong, for numbers of pixels by wrong id."""
        return (
            f'ids {self.listed(wrong)} in {sum(wrong.values())} pixels; right are 0..{self.num_classes - 1} and '
            f'{self.ignore_index}'
        )

    def listed(self, ids: Iterable[int]) -> str:
        """``[1, 2, 3, 7]`` as ``1..3, 7``; the first few."""
        parts: list[list[int]] = []
        for i in sorted(ids):
            if parts and i == parts[-1][1] + 1:
                parts[-1][1] = i
            else:
                parts.append([i, i])
        text = [f'{a}' if a == b else f'{a}..{b}' for a, b in parts]
        return ', '.join(text[:8]) + (', ...' if len(text) > 8 else '')

    def remedy(self, kind: str) -> str:
        """What to do about a label that cannot be loaded, by the kind of its fault; nothing is known here."""
        return ''

    def guess(self, stored: Iterable[int], seen: Iterable[int] = ()) -> str:
        """The likely cause of ids of which some are wrong; empty when nothing fits.

        Args:
            stored: Of one label.
            seen: Of all labels of the set: one alone may show too few.
        """
        ids, seen = set(stored), set(seen)
        wrong = set(self.wrong(ids))
        classes = self.num_classes
        city = classes == CITYSCAPES_CLASSES and ids <= _LABEL_IDS
        if max(ids, default=0) >= 1000:
            return 'these look like instanceIds (class * 1000 + number), not trainIds; ' + self.advice()
        if city and len(wrong) > 1:
            return 'these look like Cityscapes labelIds, given where trainIds belong; ' + self.advice()
        if len(ids) > 60:
            return 'so many values are a picture or a colour label saved in grey, not class ids'
        if wrong == {classes} and not self.reduce_zero_label:
            return self._one_behind_the_last(zero=0 in ids or 0 in seen)
        if wrong == {VOID} and self.ignore_index != VOID:
            return (
                f'if {VOID} marks void, set ignore_index={VOID} in the data set, or write {self.ignore_index} in the '
                'files'
            )
        if city:
            return 'perhaps Cityscapes labelIds, given where trainIds belong; ' + self.advice()
        return ''

    def _one_behind_the_last(self, *, zero: bool) -> str:
        """What the id behind the last class may be: void, or the last class of ids that count from 1."""
        last = self.num_classes
        void = f'set ignore_index={last} in the data set'
        shifted = 'set reduce_zero_label=True if 0 is void'
        if zero:
            return (
                f'{last} stands right behind the last class: if it marks void, {void}; if the ids are shifted by one, '
                f'{shifted}'
            )
        return (
            f'the ids look shifted by one: they end at {last}, not at {last - 1}; subtract 1 in the files, or '
            f'{shifted}; if {last} marks void, {void}'
        )

    def advice(self) -> str:
        """How to make trainIds."""
        return CONVERSION.format(root=self.data_root)
