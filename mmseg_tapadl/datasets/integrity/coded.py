"""Judging the values of masks by what a ``data.yaml`` says of them."""

from collections.abc import Iterable, Mapping

from mmseg_tapadl.datasets.data_yaml.coding import IGNORED, UNLISTED, LabelCoding, unpacked, value_text

_SHOWN = 4
# More colours in no list than anybody forgets to list
_MANY = 20


class CodedRules:
    """As :class:`~mmseg_tapadl.datasets.integrity.ids.IdRules`, for values that stand in lists.

    Args:
        coding: Of the values.
        told: Where the lists stand, for advice.
    """

    kind = 'label_values'

    def __init__(self, coding: LabelCoding, told: str) -> None:
        self.coding, self._told = coding, told

    def final(self, stored: int) -> int:
        """The class of a value."""
        return self.coding.class_of(stored)

    def is_void(self, stored: int) -> bool:
        """Whether it marks pixels that do not count."""
        return self.final(stored) == IGNORED

    def wrong(self, stored: Iterable[int]) -> list[int]:
        """The values in no list."""
        return [value for value in stored if self.final(value) == UNLISTED]

    def told(self, wrong: Mapping[int, int]) -> str:
        """Says what is wrong, for numbers of pixels by wrong value."""
        return self.coding.unlisted(wrong)

    def listed(self, values: Iterable[int]) -> str:
        """The first few values, as a file of data writes them."""
        texts = [value_text(value, colors=self.coding.colors) for value in sorted(values)]
        return ', '.join(texts[:_SHOWN]) + (', ...' if len(texts) > _SHOWN else '')

    def guess(self, stored: Iterable[int], seen: Iterable[int] = ()) -> str:
        """What to do about values in no list."""
        values = set(stored)
        wrong = self.wrong(values)
        if not wrong:
            return ''
        if self.coding.colors and len(wrong) > _MANY:
            return (
                'so many colours come from a JPEG, from smooth resizing or from smooth edges: save masks as PNG, and resize '
                'them with nearest neighbour'
            )
        swapped = self.coding.colors and all(
            self.final(red << 16 | green << 8 | blue) != UNLISTED for red, green, blue in map(unpacked, wrong)
        )
        if swapped and any(red != blue for red, _, blue in map(unpacked, wrong)):
            return f'they are listed with red and blue exchanged: masks and lists are [red, green, blue]{self._told}'
        return f'add each to the class it belongs to, or to ignore{self._told}'

    def advice(self) -> str:
        """What to do about masks of a wrong kind."""
        return self.remedy('channels')

    def remedy(self, kind: str) -> str:
        """What to do about a mask that is of another kind than the lists."""
        if kind == 'bits':
            return 'save masks with 8 bits a channel; ids above 255 need smaller numbers first'
        if kind == 'channels':
            return f'give the classes colors: [[red, green, blue], ...] in place of ids{self._told}'
        return ''
