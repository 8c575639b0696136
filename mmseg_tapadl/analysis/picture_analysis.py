"""One picture, clean and corrupted, through one model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mmseg_tapadl.analysis.analysed_model import AnalysedModel, Passage, Region, region_of_point, seen_picture
from mmseg_tapadl.analysis.listener import HeardAttention
from mmseg_tapadl.analysis.picture_maps import MapMaker, PictureMaps
from mmseg_tapadl.analysis.picture_values import LayerValues, PictureEar, facts_of
from mmseg_tapadl.analysis.pictures import Pictures
from mmseg_tapadl.analysis.recorded_attention import check_point
from mmseg_tapadl.analysis.token_places import places_of
from mmseg_tapadl.evaluation.class_counts import class_counts, labels_of_sample, percentages
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.utils import InputError, shown

# With two keys none can get more than twice its even part.
FEWEST_KEYS = 3


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of each picture.

    Attributes:
        cells: The corruptions and severities to compare with.
        layers: Numbers of the attentions; ``None``: all.
        ignore_index: Label value that does not count.
        point: x and y of the point whose look is shown, in pixels of the picture's file; ``None``: its middle.
        shown_cell: The cell whose maps are shown beside the clean ones; ``None``: none.
        last: Number of the layer whose heads have N x N maps.
    """

    cells: Sequence[Cell] = ()
    layers: Sequence[int] | None = None
    ignore_index: int = 255
    point: tuple[float, float] | None = None
    shown_cell: Cell | None = None
    last: int = 0


@dataclass
class PictureResult:
    """All that one picture gives.

    Attributes:
        index: Its number.
        path: Its file.
        layers: By cell, ``CLEAN`` first: the values of each layer.
        miou: By cell, in percent; ``None`` without labels.
        maps: By cell, of a picture that is shown.
    """

    index: int
    path: str
    layers: dict[Cell, list[LayerValues]] = field(default_factory=dict)
    miou: dict[Cell, float | None] = field(default_factory=dict)
    maps: dict[Cell, PictureMaps] = field(default_factory=dict)


def analyse_picture(
    model: AnalysedModel, pictures: Pictures, index: int, request: Request, *, is_shown: bool
) -> PictureResult:
    """Measures a picture and its corrupted copies.

    Raises:
        InputError: The picture cannot be read or is too small, or the point lies outside it; it is named.
    """
    result = PictureResult(index, pictures.paths[index])
    clean_ear: PictureEar | None = None
    for cell in (CLEAN, *request.cells):
        packed = pictures.sample(index, cell)
        prepared = model.prepare(packed)
        maker = None
        point = point_in(packed, request.point, result.path)
        regions = model.regions(prepared)
        number = region_of_point(regions, *point)
        if is_shown and cell in (CLEAN, request.shown_cell):
            maker = MapMaker(number, regions[number], point, last=request.last)
        ear = PictureEar(
            model, request.layers, keeps=cell == CLEAN and bool(request.cells), clean=clean_ear, also=maker
        )
        # Without labels no prediction is scored, so none is made.
        passage = model.passage(prepared, ear, predicts='gt_sem_seg' in packed['data_samples'])
        if cell == CLEAN:
            clean_ear = ear
            check_passage(passage, model, result.path)
        labels, result.miou[cell] = labels_of(passage, model, request.ignore_index)
        result.layers[cell] = ear.values(passage, labels)
        if cell == CLEAN:
            check_size(result, packed)
        if maker is not None:
            result.maps[cell] = maps_of(maker, packed, regions[number])
    return result


def survey(model: AnalysedModel, pictures: Pictures) -> list[dict[str, Any]]:
    """The facts of each layer (see :class:`LayerValues`), by one pass of the first picture that measures nothing."""
    found: dict[int, dict[str, Any]] = {}

    def hear(heard: HeardAttention) -> None:
        places = places_of(model.encoder, heard.name, heard.inputs, pictures=heard.pictures, size=heard.size)
        found.setdefault(heard.number, facts_of(heard, places))

    passage = model.passage(model.prepare(pictures.sample(0, CLEAN)), hear, predicts=False)
    check_passage(passage, model, pictures.paths[0])
    return [found[number] for number in sorted(found)]


def check_passage(passage: Passage, model: AnalysedModel, path: str) -> None:
    """Raises ``InputError`` where the picture passes no attention, or another number in each pass."""
    counts = set(passage.attentions)
    if len(counts) != 1 or counts == {0}:
        raise InputError(
            f'{shown(path)}: passes {sorted(counts)} attentions of {type(model.encoder).__name__}; the same number, 1 or more, '
            'in each pass is needed'
        )


def check_size(result: PictureResult, packed: dict[str, Any]) -> None:
    """Raises ``InputError`` for a picture of which no layer makes enough keys for attention to be anything but even."""

    def count(tokens: Any) -> int:
        return math.prod(tokens) if isinstance(tokens, list) else tokens

    most = max(count(layer.facts['keys']) for layer in result.layers[CLEAN])
    check_keys(most, packed, result.path)


def check_keys(most: int, packed: dict[str, Any], path: str) -> None:
    """Raises ``InputError`` for a picture whose layers have at most so many keys, too few for anything but even attention."""
    if most < FEWEST_KEYS:
        height, width = packed['inputs'].shape[-2:]
        raise InputError(
            f'{shown(path)}: {width} x {height} pixels are too small: no layer has more than {most} keys to look at, '
            f'and {FEWEST_KEYS} are needed; give a larger picture'
        )


def point_in(packed: dict[str, Any], point: tuple[float, float] | None, path: str) -> tuple[float, float]:
    """The point in pixels of the picture as the pipeline gives it, at the middle of its pixel.

    Raises:
        InputError: It lies outside the picture's file.
    """
    meta = packed['data_samples'].metainfo
    (height, width), (seen_height, seen_width) = meta['ori_shape'][:2], packed['inputs'].shape[-2:]
    if point is None:
        return seen_width / 2, seen_height / 2
    check_point(*point, (height, width), shown(path))
    return (point[0] + 0.5) * seen_width / width, (point[1] + 0.5) * seen_height / height


def labels_of(
    passage: Passage, model: AnalysedModel, ignore_index: int
) -> tuple[Tensor | None, float | None]:
    """Labels (H, W), -1 where none counts, and the picture's mIoU in percent; ``None`` where there are none."""
    if passage.sample is None or 'gt_sem_seg' not in passage.sample:
        return None, None
    predicted, labelled, source = labels_of_sample(passage.sample.to_dict())
    counts = class_counts(
        predicted, labelled, num_classes=len(model.classes), ignore_index=ignore_index, source=source
    )
    miou = float(percentages(counts).miou)
    labels = labelled.long().masked_fill(labelled == ignore_index, -1)
    return labels, None if math.isnan(miou) else miou


def maps_of(maker: MapMaker, packed: dict[str, Any], region: Region) -> PictureMaps:
    """The maps with the picture that they lie over."""
    picture = seen_picture(packed, region).cpu().numpy()
    return PictureMaps(picture, maker.point, maker.layers)
