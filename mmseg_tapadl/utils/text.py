"""Text for people and for files that take valid Unicode only."""

import os
import re


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


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as os.fsdecode keeps it
        return f'\\x{code - 0xDC00:02x}'
    return character.encode('unicode_escape').decode('ascii')
