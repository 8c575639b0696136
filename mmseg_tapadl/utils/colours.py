"""Colours for classes that have none."""


def distinct_colours(count: int) -> list[list[int]]:
    """RGB colours for classes that have none, the same every time, no two alike, none black (up to 255).

    The bits of each number, the lowest first, become the highest bits of red, green and blue in turn, as in the colour
    map of Pascal VOC.
    """
    return [
        [sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
        for number in range(1, count + 1)
    ]
