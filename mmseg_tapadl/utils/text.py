"""Text for people and for files that take valid Unicode only."""

import os
import re
from collections.abc import Iterable


def shown(path: str | bytes | os.PathLike) -> str:
    r"""A path (or any text) as it can be printed, logged and stored everywhere: one line of valid Unicode.

    Linux takes any bytes as a file name; Python carries those that are no UTF-8 as lone surrogates, which neither
    a screen, a digest nor a library in C can encode. They are shown as escapes, as are characters that cannot be
    seen (line ends, a byte order mark, codes that steer a terminal). An ordinary name comes back as it is.

    Example::

        >>> shown(b'stra\xdfe.png')
        'stra\\xdfe.png'

    Args:
        path: What to show; it need not exist. To open the file, use the path itself.
    """
    text = os.fsdecode(path)
    return text if text.isprintable() else ''.join(c if c.isprintable() else _escape(c) for c in text)


def plain_word(name: str) -> str:
    """A class's name without what people write differently: case, spaces, ``_`` and ``-``."""
    return re.sub(r'[\s_-]+', '', name).casefold()


def first_few(names: Iterable[str], most: int = 4) -> str:
    """Names in one line: at most ``most`` of them, and how many more there are.

    Example::

        >>> first_few(['a', 'b', 'c'], most=2)
        'a, b, and 1 more'
    """
    names = list(names)
    more = f', and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as os.fsdecode keeps it
        return f'\\x{code - 0xDC00:02x}'
    return character.encode('unicode_escape').decode('ascii')
