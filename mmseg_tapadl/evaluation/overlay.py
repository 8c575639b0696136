"""Colours for label maps: the overlay that a person looks at, with a legend of what is in it.

Legend: H rows, W columns; pictures are uint8 BGR (H, W, 3) as OpenCV has them, label maps whole numbers (H, W).
"""

from collections.abc import Sequence

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour_labels(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paints a label map (H, W) in its classes' colours; what is not a class is black.

    Args:
        labels: Class ids.
        palette: RGB of each class, 0 to 255.

    Returns:
        BGR picture (H, W, 3).
    """
    colours = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)[:, ::-1]
    table = np.vstack([colours, np.zeros((1, 3), dtype=np.uint8)])
    known = (labels >= 0) & (labels < len(colours))
    return table[np.where(known, labels, len(colours))]


def overlay_labels(
    picture: np.ndarray,
    labels: np.ndarray,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    opacity: float = 0.55,
    legend: bool = True,
) -> np.ndarray:
    """Lays a label map over its picture and adds a legend of the classes in it, largest first.

    Args:
        picture: BGR (H, W, 3); one of another size is brought to that of the labels.
        labels: Class ids (H, W).
        classes: Names, by id.
        palette: RGB of each class, by id.
        opacity: Of the colours, 0 to 1.
        legend: Whether the names of the classes stand below.

    Returns:
        BGR picture (H + legend, W, 3).
    """
    height, width = labels.shape
    if picture.shape[:2] != (height, width):
        picture = cv2.resize(picture, (width, height))
    coloured = colour_labels(labels, palette)
    mixed = cv2.addWeighted(picture, 1 - opacity, coloured, opacity, 0)
    if not legend:
        return mixed
    ids, counts = np.unique(labels, return_counts=True)
    by_size = ids[np.argsort(-counts, kind='stable')]
    present = [i for i in by_size if 0 <= i < min(len(classes), len(palette))]
    names = draw_legend([classes[i] for i in present], [palette[i] for i in present], picture.shape[1])
    return np.vstack([mixed, names])


def draw_legend(names: Sequence[str], colours: Sequence[Sequence[int]], width: int) -> np.ndarray:
    """Draws names beside squares of their colours (RGB), in as many lines as ``width`` pixels need."""
    scale = max(0.4, width / 2400)
    (_, text_height), _ = cv2.getTextSize('Ag', FONT, scale, 1)
    box, line = text_height + 2, int(text_height * 2.2)
    places: list[tuple[int, int]] = []
    x, y = box, 0
    # OpenCV's letters are those of ASCII.
    names = [name.encode('ascii', 'replace').decode() for name in names]
    for name in names:
        step = box + box // 2 + cv2.getTextSize(name, FONT, scale, 1)[0][0] + box
        if x + step > width and x > box:
            x, y = box, y + line
        places.append((x, y))
        x += step
    legend = np.full((y + line + box // 2, width, 3), 255, dtype=np.uint8)
    for name, colour, (x, y) in zip(names, colours, places, strict=True):
        top = y + (line - box) // 2 + box // 4
        rgb = [int(value) for value in colour]
        cv2.rectangle(legend, (x, top), (x + box, top + box), rgb[::-1], thickness=-1)
        baseline = (x + box + box // 2, top + box - 1)
        cv2.putText(legend, name, baseline, FONT, scale, (40, 40, 40), 1, cv2.LINE_AA)
    return legend
