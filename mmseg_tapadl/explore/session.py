"""One person's look at a picture and its corrupted copy, through one model or several.

Knows of no page: every method returns when its answer is there. Legend: H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmseg.utils import register_all_modules

from mmseg_tapadl.analysis.analysed_model import AnalysedModel, Region, region_of_point
from mmseg_tapadl.analysis.listener import HeardAttention
from mmseg_tapadl.analysis.picture_analysis import check_keys, check_passage, point_in
from mmseg_tapadl.analysis.pictures import DecodedPicture, FilePictures, Pictures
from mmseg_tapadl.analysis.recorded_attention import RecordedAttention, record_attention, recorded
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.explore.uploads import decode_upload
from mmseg_tapadl.utils import InputError, shown


@dataclass(frozen=True)
class Source:
    """A picture that was chosen, for each model as its own pipeline brings it there.

    Attributes:
        name: Of the picture.
        pictures: Of each model.
        index: Its number among these.
    """

    name: str
    pictures: Sequence[Pictures]
    index: int = 0


@dataclass
class Seen:
    """A picture in one condition as one model saw it.

    Attributes:
        cell: The condition.
        packed: Of the pipeline.
        prepared: As the segmentor takes it.
        regions: What the encoder's passes see of it.
        labels: (H, W) predicted class ids, in the size of the picture's file.
        attention: By number of the region, of one region at most.
    """

    cell: Cell
    packed: dict[str, Any]
    prepared: dict[str, Any]
    regions: list[Region]
    labels: np.ndarray
    attention: dict[int, list[RecordedAttention]] = field(default_factory=dict)

    @property
    def picture(self) -> np.ndarray:
        """(h, w, 3) BGR, uint8, as the pipeline gives it."""
        picture = self.packed['inputs'].permute(1, 2, 0).cpu().numpy()
        return np.clip(picture, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class LayerLook:
    """Where a point looks in one layer.

    Attributes:
        layer: Its number.
        looks: (H, rows, columns), attention times the number of keys: 1 is even; ``None`` for tokens on no grid.
        stride: Pixels of ``Seen.picture`` along a key's side.
        region: The part of the picture that the grid covers.
        branch: (rows, columns) the preferred branch of TAP; ``None`` without TAP.
        branch_stride: Pixels along a query's side.
    """

    layer: int
    looks: np.ndarray | None
    stride: int
    region: Region
    branch: np.ndarray | None
    branch_stride: int


@dataclass(frozen=True)
class ModelView:
    """What one model made of the picture: clean first, then corrupted."""

    model: AnalysedModel
    clean: Seen
    corrupted: Seen

    @property
    def changed(self) -> np.ndarray:
        """(H, W) whether the label of a pixel is another one on the corrupted picture."""
        return self.clean.labels != self.corrupted.labels


class ExploreSession:
    """Holds one picture at a time: with the next, the attention of the one before is released.

    Args:
        models: One, or several whose tokens lie on the same grids.
        paths: Pictures to choose from.

    Attributes:
        source: The picture that is shown; ``None`` before the first.
        cell: Its corruption.
        views: Of each model.

    Raises:
        InputError: A config without a pipeline that loads a picture.
    """

    def __init__(self, models: Sequence[AnalysedModel], paths: Sequence[str] = ()):
        register_all_modules(init_default_scope=False)
        self.models = list(models)
        self.paths = list(paths)
        self.source: Source | None = None
        self.cell = CLEAN
        self.views: list[ModelView] = []
        self._files = []
        for model in self.models:
            self._enter(model)
            self._files.append(FilePictures(model.config, self.paths))

    def file(self, index: int) -> Source:
        """One of ``paths``."""
        return Source(self.paths[index], self._files, index)

    def upload(self, name: str, content: bytes) -> Source:
        """A picture by its bytes, which stay in memory.

        Raises:
            InputError: No picture, or too large a one; it is named.
        """
        picture = decode_upload(name, content)
        sources = []
        for model in self.models:
            self._enter(model)
            sources.append(DecodedPicture(model.config, name, picture))
        return Source(name, sources)

    def show(self, source: Source, cell: Cell) -> bool:
        """Labels a picture, clean and corrupted, and keeps its attention; after an error all is as before.

        Returns:
            Whether anything changed.

        Raises:
            InputError: The picture cannot be read or is too small, or the models' tokens lie on different grids.
        """
        if source is self.source and cell == self.cell:
            return False
        views = []
        for number, model in enumerate(self.models):
            clean = self.views[number].clean if source is self.source else self._see(number, source, CLEAN)
            corrupted = clean if cell == CLEAN else self._see(number, source, cell)
            views.append(ModelView(model, clean, corrupted))
        check_grids(views)
        self.source, self.cell, self.views = source, cell, views
        return True

    def release(self) -> None:
        """Forgets the picture and its attention."""
        self.source, self.views = None, []

    def look(self, view: ModelView, seen: Seen, point: tuple[float, float]) -> list[LayerLook]:
        """Where a point looks in each layer.

        Args:
            view: One of ``views``.
            seen: Its clean or its corrupted picture.
            point: x and y, a pixel of the picture's file.

        Raises:
            InputError: The point lies outside the picture.
        """
        assert self.source is not None
        x, y = point_in(seen.packed, point, self.source.name)
        number = region_of_point(seen.regions, x, y)
        region = seen.regions[number]
        if number not in seen.attention:
            inputs = region.part_of(seen.prepared['inputs'])
            seen.attention = {number: record_attention(view.model.encoder, inputs)}
        return [
            layer_look(attention, region, x - region.left, y - region.top)
            for attention in seen.attention[number]
        ]

    def _see(self, number: int, source: Source, cell: Cell) -> Seen:
        model = self.models[number]
        self._enter(model)
        packed = source.pictures[number].sample(source.index, cell)
        prepared = model.prepare(packed)
        kept: list[RecordedAttention] = []
        is_whole = len(model.regions(prepared)) == 1
        most = 0

        def hear(heard: HeardAttention) -> None:
            nonlocal most
            most = max(most, heard.inputs.k.shape[2] - heard.inputs.num_prefix)
            # Of many windows only that of the point is asked for, when it is known.
            if is_whole:
                kept.append(recorded(model.encoder, heard))

        try:
            passage = model.passage(prepared, hear)
        except torch.cuda.OutOfMemoryError as error:
            raise InputError(
                f'{shown(source.name)}: too large for the memory of the GPU; give a smaller picture'
            ) from error
        check_passage(passage, model, source.name)
        check_keys(most, packed, source.name)
        labels = passage.sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        return Seen(cell, packed, prepared, passage.regions, labels, {0: kept} if is_whole else {})

    @staticmethod
    def _enter(model: AnalysedModel) -> None:
        init_default_scope(model.config.get('default_scope', 'mmseg'))


def layer_look(attention: RecordedAttention, region: Region, x: float, y: float) -> LayerLook:
    """Where a pixel of the encoder's picture looks in a layer."""
    places, weights = attention.places, attention.branch_weights
    return LayerLook(
        layer=attention.number,
        looks=None if places is None else attention.looks(x, y).float().cpu().numpy(),
        stride=1 if places is None else places.key_stride,
        region=region,
        branch=None if weights is None else weights.argmax(0).to(torch.uint8).cpu().numpy(),
        branch_stride=1 if places is None else places.query_stride,
    )


def agreement_of(clean: np.ndarray, corrupted: np.ndarray) -> float:
    """Cosine between two looks (rows, columns): 1 where the point looks at the same places."""
    first, second = clean.astype(np.float64).ravel(), corrupted.astype(np.float64).ravel()
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / norms) if norms else float('nan')


def check_grids(views: Sequence[ModelView]) -> None:
    """Raises ``InputError`` where the models have their tokens on other grids."""

    def grids(view: ModelView) -> list[str]:
        layers = next(iter(view.clean.attention.values()), [])
        places = [layer.places for layer in layers if layer.places is not None]
        told = [
            f'{one.query_grid[0]} x {one.query_grid[1]} queries over {one.key_grid[0]} x {one.key_grid[1]} keys'
            for one in places
        ]
        return list(dict.fromkeys(told))

    first = grids(views[0])
    for view in views[1:]:
        if grids(view) != first:
            raise InputError(
                f'{views[0].model.name} and {view.model.name} cannot be compared: their tokens lie on different grids '
                f'({"; ".join(first)} against {"; ".join(grids(view))}); compare encoders of one patch size'
            )
