"""The pictures of the live page, as addresses that hold all of their content.

Legend: pictures are uint8 BGR (h, w, 3).
"""

import cv2
import numpy as np

from mmseg_tapadl.analysis.analysed_model import Region
from mmseg_tapadl.analysis.heat_pictures import branch_colours, heat_colours, picture_uri
from mmseg_tapadl.evaluation.overlay import overlay_labels
from mmseg_tapadl.explore.session import LayerLook, ModelView, Seen

CHANGED = (0, 159, 230)
"""BGR: Okabe and Ito's orange."""


def scaled(picture: np.ndarray, width: int) -> np.ndarray:
    """A picture so many pixels wide; a smaller one grows, so that what lies over it is sharp."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    shrinks = width < picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def laid_over(
    picture: np.ndarray, colours: np.ndarray, *, stride: int, region: Region, size: tuple[int, int]
) -> np.ndarray:
    """Cells over the part of a picture that they cover.

    Args:
        picture: At any scale.
        colours: (rows, columns, 4) RGB and opacity of each cell.
        stride: Pixels along a cell's side, of a picture of ``size``.
        region: What the cells cover, in pixels of ``size``.
        size: Height and width in which these are told.
    """
    places, inside = [], []
    for length, full, start, extent, count in zip(
        picture.shape,
        size,
        (region.top, region.left),
        (region.height, region.width),
        colours.shape,
        strict=False,
    ):
        pixels = (np.arange(length) + 0.5) * full / length - start
        inside.append((pixels >= 0) & (pixels < extent))
        places.append(np.clip(pixels // stride, 0, count - 1).astype(int))
    cells = colours[places[0][:, None], places[1]]
    opacity = cells[..., 3:] / 255 * (inside[0][:, None] & inside[1])[..., None]
    return (picture * (1 - opacity) + cells[..., 2::-1] * opacity).round().astype(np.uint8)


def muted(picture: np.ndarray) -> np.ndarray:
    """A picture in grey and a little darker, so that the colours over it are those of the scale."""
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return (0.8 * grey).round().astype(np.uint8)


def plain_uri(seen: Seen, width: int) -> str:
    """A picture as it is."""
    return picture_uri(scaled(seen.picture, width), width)


def look_uri(
    seen: Seen, layer: LayerLook, head: int | None, width: int, point: tuple[float, float] | None = None
) -> str:
    """A picture with where the point looks, and the point (a pixel of the picture's file) itself."""
    picture = scaled(seen.picture, width)
    if layer.looks is not None:
        values = layer.looks.mean(0) if head is None else layer.looks[head]
        colours = heat_colours(values, overlay=True)
        picture = laid_over(
            muted(picture), colours, stride=layer.stride, region=layer.region, size=seen.picture.shape[:2]
        )
    if point is not None:
        ratios = picture.shape[1] / seen.labels.shape[1], picture.shape[0] / seen.labels.shape[0]
        place = tuple(int((part + 0.5) * ratio) for part, ratio in zip(point, ratios, strict=True))
        radius = max(3, width // 90)
        cv2.circle(picture, place, radius + 1, (0, 0, 0), 4, cv2.LINE_AA)
        cv2.circle(picture, place, radius, (255, 255, 255), 2, cv2.LINE_AA)
    return picture_uri(picture, width)


def branch_map_uri(seen: Seen, layer: LayerLook, width: int) -> str:
    """A picture with TAP's preferred branch of each token."""
    assert layer.branch is not None
    picture = laid_over(
        scaled(seen.picture, width),
        branch_colours(layer.branch),
        stride=layer.branch_stride,
        region=layer.region,
        size=seen.picture.shape[:2],
    )
    return picture_uri(picture, width)


def prediction_uri(view: ModelView, seen: Seen, width: int) -> str:
    """A picture under its predicted labels."""
    picture = scaled(seen.picture, width)
    labels = cv2.resize(seen.labels.astype(np.int32), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    mixed = overlay_labels(
        picture, labels, classes=view.model.classes, palette=view.model.palette, legend=False
    )
    return picture_uri(mixed, width)


def changed_uri(view: ModelView, width: int) -> str:
    """The corrupted picture in grey, orange where the prediction is another one than on the clean one."""
    picture = scaled(view.corrupted.picture, width)
    grey = muted(picture)
    changed = cv2.resize(
        view.changed.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST
    ).astype(bool)
    grey[changed] = (0.3 * grey[changed] + 0.7 * np.array(CHANGED)).round().astype(np.uint8)
    return picture_uri(grey, width)
