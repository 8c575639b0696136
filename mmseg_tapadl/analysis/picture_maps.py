"""The maps of one picture that a page shows: where a point looks, where all look on average, the N x N map.

All values are attention times M', the number of patch keys: 1 is even. Legend: H heads.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmseg_tapadl.analysis.analysed_model import Region
from mmseg_tapadl.analysis.coarse_map import CoarseMap
from mmseg_tapadl.analysis.listener import HeardAttention
from mmseg_tapadl.analysis.picture_values import BlockHearer
from mmseg_tapadl.analysis.row_blocks import RowBlock, row_of
from mmseg_tapadl.analysis.token_places import TokenPlaces


@dataclass(frozen=True)
class LayerMaps:
    """The maps of one layer.

    Attributes:
        layer: Its number.
        stride: Pixels of the encoder's picture along a key's side.
        look: (H, rows, columns) where the point looks, on the grid of keys.
        mean: (rows, columns) where all queries look on average.
        coarse: (1 or 1 + H, n, m) the N x N map of the heads' mean, then those of the heads where they were asked for;
            within windows that of the point's window.
        branch: (rows, columns) the preferred branch of TAP, on the grid of queries; ``None`` without TAP.
        branch_stride: Pixels along a query's side.
    """

    layer: int
    stride: int
    look: np.ndarray
    mean: np.ndarray
    coarse: np.ndarray
    branch: np.ndarray | None
    branch_stride: int


@dataclass(frozen=True)
class PictureMaps:
    """What is shown of one picture in one cell.

    Attributes:
        picture: (h, w, 3) BGR, uint8, what the encoder saw.
        point: x and y of the point, in pixels of ``picture``.
        layers: In the order of the forward pass; those whose tokens lie on no grid are missing.
    """

    picture: np.ndarray
    point: tuple[float, float]
    layers: list[LayerMaps]


class MapMaker:
    """Makes the maps of a picture while its attention is measured: what :class:`PictureEar` asks for each attention.

    Args:
        region: Number of the region of the picture that is shown, among those that the encoder's passes see.
        place: That region.
        point: x and y of the point, in pixels of the picture as the pipeline gives it.
        last: Number of the layer of which the N x N maps of single heads are made.
    """

    def __init__(self, region: int, place: Region, point: tuple[float, float], *, last: int):
        self.region = region
        self.point = point[0] - place.left, point[1] - place.top
        self.last = last
        self.layers: list[LayerMaps] = []
        self._seen: dict[int, int] = {}

    def __call__(self, heard: HeardAttention, places: TokenPlaces | None) -> BlockHearer | None:
        """Takes the blocks of an attention whose pass sees the region."""
        first = self._seen.get(heard.number, 0)
        self._seen[heard.number] = first + heard.pictures
        place = self.region - first
        if places is None or not 0 <= place < heard.pictures:
            return None
        inputs = heard.inputs
        window, query = places.query_at(*self.point)
        offset = place * places.windows
        entry = offset + window
        grids = window_grids(places) if places.windows > 1 else (places.query_grid, places.key_grid)
        coarse = CoarseMap(entry, *grids, num_heads=inputs.q.shape[1], by_head=heard.number == self.last)
        keys = places.key_cells.shape[1]
        total = inputs.q.new_zeros(places.windows, keys, dtype=torch.float64)

        def add(block: RowBlock, means: Tensor) -> None:
            coarse.add(block, means)
            for number, rows in enumerate(means, block.entries.start - offset):
                if 0 <= number < places.windows:
                    total[number] += rows.sum(0, dtype=torch.float64)

        def finish() -> None:
            row = row_of(inputs, entry, query)[:, inputs.num_prefix :]
            look = row.new_zeros(places.windows, *row.shape)
            look[window] = row * keys
            weights = heard.branch_weights
            maps = LayerMaps(
                layer=heard.number,
                stride=places.key_stride,
                look=as_array(places.key_maps(look)),
                mean=as_array(places.key_maps(total * keys / (inputs.q.shape[2] - inputs.num_prefix))),
                coarse=as_array(coarse.finish()),
                branch=None if weights is None else weights[place].argmax(0).to(torch.uint8).cpu().numpy(),
                branch_stride=places.query_stride,
            )
            self.layers.append(maps)

        return BlockHearer(add, finish)


def window_grids(places: TokenPlaces) -> tuple[tuple[int, int], tuple[int, int]]:
    """The grids of queries and of keys in one window, which is a square."""
    side = round(places.query_cells.shape[1] ** 0.5)
    return (side, side), (side, side)


def as_array(values: Tensor) -> np.ndarray:
    """Half precision is enough to look at."""
    return values.cpu().numpy().astype(np.float16)
