"""What one picture adds: the values of each attention that it passes, clean and in each cell of corruption.

Legend: H heads, K branches of TAP.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmseg_tapadl.analysis.analysed_model import AnalysedModel, Passage
from mmseg_tapadl.analysis.input_store import InputStore
from mmseg_tapadl.analysis.listener import HeardAttention
from mmseg_tapadl.analysis.measures import COSINE_BINS, MeasureSums, StabilitySums
from mmseg_tapadl.analysis.row_blocks import RowBlock, row_blocks
from mmseg_tapadl.analysis.token_places import TokenPlaces, places_of

MEASURES = ('similarity', 'concentration', 'entropy', 'top_mass', 'prefix_attention', 'head_similarity')
"""Measures with one value a layer; entropy is the mean over its heads."""
BY_HEAD = ('attention_distance', 'entropy_by_head')
STABILITIES = ('stability', 'flattened_stability')


@dataclass
class LayerValues:
    """One layer of one picture in one cell, over all passes and windows, each weighing alike.

    Attributes:
        facts: ``layer``, ``name``, ``heads``, ``prefix_tokens``, ``windows``, ``queries`` and ``keys`` (rows and columns,
            or their number where they lie on no grid), ``query_stride``.
        values: Of :data:`MEASURES` and, where it was corrupted, :data:`STABILITIES`; NaN has no meaning.
        by_head: Of :data:`BY_HEAD`.
        cosines: How many rows have a cosine of clean and corrupted attention in each bin.
        branches: (K,) mean weight of each branch of TAP; ``None`` without TAP.
        branches_by_class: By class id: the sums of the weights (K,) over its tokens, and their number.
    """

    facts: dict[str, Any]
    values: dict[str, float]
    by_head: dict[str, list[float]]
    cosines: list[int]
    branches: list[float] | None = None
    branches_by_class: dict[int, tuple[list[float], int]] = field(default_factory=dict)


class BlockHearer(NamedTuple):
    """What else hears an attention: gets each block and its rows a_i, then is told of the end."""

    add: Callable[[RowBlock, Tensor], None]
    finish: Callable[[], None]


class PictureEar:
    """Measures the attentions of one picture in one cell while they are heard.

    Args:
        model: That the picture passes.
        layers: Numbers of the attentions to measure; ``None``: all.
        keeps: Whether queries and keys are kept, to compare the attention of a corrupted copy with.
        clean: What another ear kept of the clean picture.
        also: Asked for each attention, with the places of its tokens, what else is to hear it.
    """

    def __init__(
        self,
        model: AnalysedModel,
        layers: Sequence[int] | None,
        *,
        keeps: bool = False,
        clean: 'PictureEar | None' = None,
        also: Callable[[HeardAttention, TokenPlaces | None], BlockHearer | None] | None = None,
    ):
        self.model = model
        self.layers = layers
        self.keeps = keeps
        self.clean = clean
        self.also = also
        self.kept = InputStore()
        self.passes: dict[int, list[dict[str, Tensor]]] = {}
        self.facts: dict[int, dict[str, Any]] = {}
        self.weights: dict[int, list[tuple[int, Tensor, int | None]]] = {}

    def __call__(self, heard: HeardAttention) -> None:
        """Measures one attention of one pass."""
        if self.layers is not None and heard.number not in self.layers:
            return
        inputs = heard.inputs
        places = places_of(self.model.encoder, heard.name, inputs, pictures=heard.pictures, size=heard.size)
        self.facts.setdefault(heard.number, facts_of(heard, places))
        centres = (
            (None, None)
            if places is None
            else (places.query_centres().to(inputs.q.device), places.key_centres().to(inputs.q.device))
        )
        sums = MeasureSums(inputs, query_centres=centres[0], key_centres=centres[1])
        stability = None
        before: Iterator[RowBlock | None] = repeat(None)
        if self.clean is not None:
            kept = self.clean.kept.get((heard.passed, heard.number))
            stability = StabilitySums(kept, inputs)
            before = row_blocks(kept)
        also = None if self.also is None else self.also(heard, places)
        for block, clean in zip(row_blocks(inputs), before, strict=False):
            means = sums.add(block)
            if stability is not None and clean is not None:
                stability.add_rows(block.entries, clean.patches.mean(1), means)
            if also is not None:
                also.add(block, means)
        if also is not None:
            also.finish()
        found = sums.finish()
        values = {
            **{name: getattr(found, name).double().cpu() for name in MEASURES},
            'attention_distance': found.attention_distance.cpu(),
        }
        if stability is not None:
            stable = stability.finish()
            values['stability'] = stable.row_cosine.cpu()
            values['flattened_stability'] = stable.flattened_cosine.cpu()
            values['cosines'] = stable.counts.cpu()
        self.passes.setdefault(heard.number, []).append(values)
        if heard.branch_weights is not None:
            stride = None if places is None else places.query_stride
            self.weights.setdefault(heard.number, []).append((heard.passed, heard.branch_weights, stride))
        if self.keeps:
            self.kept.keep((heard.passed, heard.number), inputs)

    def values(self, passage: Passage, labels: Tensor | None) -> list[LayerValues]:
        """The values of each layer, after the picture has passed.

        Args:
            passage: The picture's way.
            labels: (H, W) class ids by which the weights of TAP's branches are told apart; negative: not counted.
        """
        return [self._layer(number, passage, labels) for number in sorted(self.passes)]

    def _layer(self, number: int, passage: Passage, labels: Tensor | None) -> LayerValues:
        passes = self.passes[number]
        joined = {name: torch.cat([values[name] for values in passes]) for name in passes[0]}
        means = {name: values.double().mean(0) for name, values in joined.items() if name != 'cosines'}
        by_head = {'attention_distance': means.pop('attention_distance').tolist()}
        by_head['entropy_by_head'] = means['entropy'].tolist()
        means['entropy'] = means['entropy'].mean()
        cosines = joined['cosines'].sum(0).tolist() if 'cosines' in joined else [0] * COSINE_BINS
        layer = LayerValues(
            self.facts[number], {name: float(value) for name, value in means.items()}, by_head, cosines
        )
        weights = self.weights.get(number)
        if weights:
            tokens = [maps.double().flatten(2).mean(2) for _, maps, _ in weights]
            layer.branches = torch.cat(tokens).mean(0).tolist()
            if labels is not None:
                layer.branches_by_class = weights_by_class(weights, passage, labels)
        return layer


def facts_of(heard: HeardAttention, places: TokenPlaces | None) -> dict[str, Any]:
    """What a layer is, beside its values."""
    q, k, prefix = heard.inputs.q, heard.inputs.k, heard.inputs.num_prefix
    return {
        'layer': heard.number,
        'name': heard.name,
        'heads': q.shape[1],
        'prefix_tokens': prefix,
        'windows': q.shape[0] // heard.pictures,
        'queries': q.shape[2] - prefix if places is None else list(places.query_grid),
        'keys': k.shape[2] - prefix if places is None else list(places.key_grid),
        'query_stride': None if places is None else places.query_stride,
    }


def weights_by_class(
    weights: Sequence[tuple[int, Tensor, int | None]], passage: Passage, labels: Tensor
) -> dict[int, tuple[list[float], int]]:
    """The sums of branch weights (K,) over the tokens of each class, and their numbers, over all passes.

    A token's class is that of the label at the middle of its cell.
    """
    scale = [own / seen for own, seen in zip(labels.shape, passage.sample.img_shape[:2], strict=True)]
    found: dict[int, tuple[Tensor, int]] = {}
    number = 0
    for _, maps, stride in weights:
        regions = passage.regions[number : number + len(maps)]
        number += len(maps)
        if stride is None:
            continue
        for own, region in zip(maps.double().cpu(), regions, strict=True):
            rows, columns = (
                ((torch.arange(count) + 0.5) * stride + offset) * factor
                for count, offset, factor in zip(own.shape[1:], (region.top, region.left), scale, strict=True)
            )
            inside = rows < labels.shape[0], columns < labels.shape[1]
            classes = labels.cpu()[rows[inside[0]].long()][:, columns[inside[1]].long()]
            own = own[:, inside[0]][:, :, inside[1]]
            for label in classes.unique().tolist():
                if label >= 0:
                    its = own[:, classes == label]
                    total, count = found.get(label, (torch.zeros(len(own), dtype=torch.float64), 0))
                    found[label] = (total + its.sum(1), count + its.shape[1])
    return {label: (total.tolist(), count) for label, (total, count) in sorted(found.items())}
