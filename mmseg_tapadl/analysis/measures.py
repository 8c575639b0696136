"""What attention does, as numbers: how alike, how concentrated, how stable, how far, how different its heads.

The legend is that of ``layers/diversified_attention.py``: P^h (N x M) is the attention of head h, a_i the mean over
the heads of row i, patches only, abar the mean of the a_i, M' the patch keys. Each value is that of one batch entry
(a picture, or a window of one). All are taken in one pass over blocks of queries; statistics are in float32, or float64
where the queries are, and summed over blocks in float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_tapadl.analysis.row_blocks import RowBlock, row_blocks
from mmseg_tapadl.layers.attention_blocks import statistics_dtype
from mmseg_tapadl.layers.attention_watch import AttentionInputs
from mmseg_tapadl.layers.row_similarity import SimilaritySums, inverse_length

TOP_SHARE = 0.01
"""Of the keys, whose part of the attention is ``top_mass``."""
COSINE_BINS = 20
"""Bins of equal width over 0 to 1, in which the cosines of rows are counted."""


@dataclass(frozen=True)
class AttentionMeasures:
    """The measures of one attention. NaN where a measure has no meaning.

    Attributes:
        similarity: (B,) the ADL value, ``1/N' sum_i cos(T(abar), T(a_i))``, 0 to 1; T keeps what is above tau / M'. How
            much the queries look at the same few keys: redundancy between rows.
        concentration: (B,) ``|{j : abar_j > tau / M'}| / M'``, the share of keys that get more than tau times their even
            part on average. 0 also where attention is even.
        entropy: (B, H) by head ``1/N sum_i -sum_j P^h_ij log P^h_ij / log M`` over the whole rows, prefix tokens
            included: 1 is even, 0 one key. How concentrated each row is by itself. NaN for a single key.
        top_mass: (B,) ``sum_{j in J} abar_j / sum_j abar_j``, J the ceil(M' / 100) keys of largest abar.
        prefix_attention: (B,) the mean over heads and patch queries of what goes to prefix tokens. NaN without any.
        head_similarity: (B,) the mean over pairs of heads of ``<P^h, P^g> / (|P^h| |P^g|)``, each taken as one vector,
            patches only. NaN for a single head.
        attention_distance: (B, H) by head, the mean over patch queries of ``sum_j P^h_ij d_ij / sum_j P^h_ij`` over patch
            keys, d_ij the pixels between the middles of query i and key j. NaN where places are not known.
        mean_row: (B, M') abar.
    """

    similarity: Tensor
    concentration: Tensor
    entropy: Tensor
    top_mass: Tensor
    prefix_attention: Tensor
    head_similarity: Tensor
    attention_distance: Tensor
    mean_row: Tensor


@dataclass(frozen=True)
class AttentionStability:
    """How alike the attention to a picture and to its corrupted copy is; rows are averaged over the heads first.

    Attributes:
        row_cosine: (B,) ``1/N' sum_i cos(a_i, a'_i)``, 0 to 1.
        flattened_cosine: (B,) ``<a, a'> / (|a| |a'|)`` of all rows as one vector: long rows weigh more.
        counts: (B, 20) int64: how many rows have a cosine in each twentieth of 0 to 1.
    """

    row_cosine: Tensor
    flattened_cosine: Tensor
    counts: Tensor


@torch.no_grad()
def attention_measures(
    inputs: AttentionInputs,
    *,
    threshold: float = 2.0,
    query_centres: Tensor | None = None,
    key_centres: Tensor | None = None,
) -> AttentionMeasures:
    """All measures of an attention in one pass, without an N x M matrix in memory.

    Args:
        inputs: What the attention is computed from.
        threshold: tau, above 0.
        query_centres: (W, N', 2) where the patch queries are, y and x in pixels. W is 1, or divides B: entry e lies in
            window e % W.
        key_centres: (W, M', 2) likewise of the keys.

    Raises:
        ValueError: Shapes that do not agree, a threshold that is not positive, a ``num_prefix`` that leaves no patch.
    """
    sums = MeasureSums(inputs, threshold=threshold, query_centres=query_centres, key_centres=key_centres)
    for block in row_blocks(inputs):
        sums.add(block)
    return sums.finish()


@torch.no_grad()
def attention_stability(clean: AttentionInputs, corrupted: AttentionInputs) -> AttentionStability:
    """Compares two attentions of the same shape row by row.

    Raises:
        ValueError: Shapes that do not agree.
    """
    sums = StabilitySums(clean, corrupted)
    for before, after in zip(row_blocks(clean), row_blocks(corrupted), strict=True):
        sums.add(before, after)
    return sums.finish()


class MeasureSums:
    """Sums over blocks of attention from which the measures follow; arguments as of :func:`attention_measures`."""

    def __init__(
        self,
        inputs: AttentionInputs,
        *,
        threshold: float = 2.0,
        query_centres: Tensor | None = None,
        key_centres: Tensor | None = None,
    ):
        if not 0 < threshold < float('inf'):
            raise ValueError(f'threshold must be above 0 and finite, got {threshold}')
        q = inputs.q
        entries, heads, self.num_queries, _ = q.shape
        self.num_keys = inputs.k.shape[2]
        self.num_prefix = inputs.num_prefix
        patches, self.patch_keys = self.num_queries - self.num_prefix, self.num_keys - self.num_prefix
        self.limit = threshold / self.patch_keys
        like = q.new_empty(0, dtype=statistics_dtype(q))
        self.sums = SimilaritySums(like, entries, patches, self.patch_keys, self.limit)
        self.centres = None
        if query_centres is not None and key_centres is not None:
            check_centres('query_centres', query_centres, entries, patches)
            check_centres('key_centres', key_centres, entries, self.patch_keys)
            self.centres = query_centres.to(like), key_centres.to(like)
        wide = q.new_empty(0, dtype=torch.float64)
        self.entropy = wide.new_zeros(entries, heads)
        self.products = wide.new_zeros(entries, heads, heads)
        self.prefix_mass = wide.new_zeros(entries)
        self.distance = wide.new_zeros(entries, heads)
        self.placed_rows = wide.new_zeros(entries, heads)
        self.may_be_empty = inputs.bias is not None
        self.room: Tensor | None = None

    def add(self, block: RowBlock) -> Tensor:
        """Adds a block; returns the a_i (g, n', M') of its patch queries."""
        p, entries = block.p, block.entries
        for head, own in enumerate(p.unbind(1)):  # one at a time stays in the cache
            logarithm = torch.clamp(own, min=torch.finfo(p.dtype).tiny, out=self._room_like(own)).log_()
            self.entropy[entries, head] -= products(own, logarithm)
        patches = block.patches
        means = patches.mean(1)
        if patches.shape[2] == 0:
            return means
        self.products[entries] += torch.stack([heads @ heads.mT for heads in patches.flatten(2)]).double()
        if self.num_prefix:
            self.prefix_mass[entries] += p[:, :, block.patch_queries, : self.num_prefix].sum(
                dim=(1, 2, 3), dtype=torch.float64
            )
        if self.centres is not None:
            self._add_distances(block, patches)
        self.sums.add(means.clone(), entries)  # it overwrites what it is given
        return means

    def _add_distances(self, block: RowBlock, patches: Tensor) -> None:
        assert self.centres is not None
        queries, keys = (of_entries(centres, block.entries) for centres in self.centres)
        queries, keys = (x.mT.contiguous() for x in (queries[:, block.patch_rows], keys))  # (g, 2, tokens)
        pixels = (queries[:, 0, :, None] - keys[:, 0, None]).square_()
        pixels += (queries[:, 1, :, None] - keys[:, 1, None]).square_()
        pixels.sqrt_()
        for head, p in enumerate(patches.unbind(1)):
            if not self.num_prefix and not self.may_be_empty:  # each row sums to 1
                self.distance[block.entries, head] += products(p, pixels)
                self.placed_rows[block.entries, head] += p.shape[1]
                continue
            mass = p.sum(-1)
            rows = torch.where(mass > 0, (p * pixels).sum(-1) / mass, 0.0)
            self.distance[block.entries, head] += rows.sum(-1, dtype=torch.float64)
            self.placed_rows[block.entries, head] += (mass > 0).sum(-1)

    def finish(self) -> AttentionMeasures:
        """The measures of all entries."""
        similarity, _, _ = self.sums.finish()
        mean_row = self.sums.rows_sum / self.sums.num_queries
        heads = self.entropy.shape[1]
        top = mean_row.topk(-(-self.patch_keys // round(1 / TOP_SHARE)), dim=-1).values
        nothing = self.prefix_mass.new_full((), float('nan'))
        log_keys = torch.tensor(self.num_keys, dtype=torch.float64).log().item()
        return AttentionMeasures(
            similarity=similarity,
            concentration=(mean_row > self.limit).double().mean(-1),
            entropy=self.entropy / self.num_queries / log_keys
            if self.num_keys > 1
            else nothing.expand_as(self.entropy),
            top_mass=top.double().sum(-1) / mean_row.double().sum(-1),
            prefix_attention=self.prefix_mass / (heads * self.sums.num_queries)
            if self.num_prefix
            else nothing.expand_as(self.prefix_mass),
            head_similarity=mean_pair_cosine(self.products),
            attention_distance=self.distance / self.placed_rows,
            mean_row=mean_row,
        )

    def _room_like(self, p: Tensor) -> Tensor:
        """Room of the shape of one head's P, used again for each."""
        if self.room is None or self.room.shape != p.shape:
            self.room = torch.empty_like(p)
        return self.room


class StabilitySums:
    """Sums over blocks of two attentions from which their stability follows.

    Raises:
        ValueError: The two have not the same numbers of entries, heads, queries, keys or prefix tokens.
    """

    def __init__(self, clean: AttentionInputs, corrupted: AttentionInputs):
        shapes = [
            (*inputs.q.shape[:3], inputs.k.shape[2], inputs.num_prefix) for inputs in (clean, corrupted)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f'attentions of (entries, heads, queries, keys, prefix) {shapes[0]} and {shapes[1]} cannot be compared'
            )
        entries = clean.q.shape[0]
        self.num_queries = clean.q.shape[2] - clean.num_prefix
        wide = clean.q.new_empty(0, dtype=torch.float64)
        self.cosine = wide.new_zeros(entries)
        self.products = wide.new_zeros(3, entries)
        self.counts = torch.zeros(entries, COSINE_BINS, dtype=torch.int64, device=wide.device)

    def add(self, clean: RowBlock, corrupted: RowBlock) -> None:
        """Adds the same rows of both."""
        self.add_rows(clean.entries, clean.patches.mean(1), corrupted.patches.mean(1))

    def add_rows(self, entries: slice, clean: Tensor, corrupted: Tensor) -> None:
        """Adds rows a_i and a'_i (g, n', M') of some entries."""
        dot = torch.linalg.vecdot(clean, corrupted)
        cosine = dot * (inverse_length(clean) * inverse_length(corrupted))[..., 0]
        self.cosine[entries] += cosine.sum(-1, dtype=torch.float64)
        squares = (torch.linalg.vecdot(rows, rows) for rows in (clean, corrupted))
        for total, values in zip(self.products, (dot, *squares), strict=True):
            total[entries] += values.sum(-1, dtype=torch.float64)
        bins = (cosine * COSINE_BINS).long().clamp_(0, COSINE_BINS - 1)
        self.counts[entries] += torch.nn.functional.one_hot(bins, COSINE_BINS).sum(1)

    def finish(self) -> AttentionStability:
        """The stability of all entries."""
        dot, first, second = self.products
        length = (first * second).sqrt()
        return AttentionStability(
            row_cosine=self.cosine / self.num_queries,
            flattened_cosine=torch.where(length > 0, dot / length, 0.0),
            counts=self.counts,
        )


def products(p: Tensor, other: Tensor) -> Tensor:
    """The sums (g,), in float64, over rows and keys of ``p * other`` (g, n, M)."""
    if len(p) == 1:
        return torch.dot(p.flatten(), other.flatten())[None].double()
    return (p * other).sum((1, 2), dtype=torch.float64)


def mean_pair_cosine(products: Tensor) -> Tensor:
    """The mean cosine (B,) over pairs of different vectors, from their products (B, H, H); NaN for a single one."""
    lengths = products.diagonal(dim1=1, dim2=2).sqrt()
    both = lengths[:, :, None] * lengths[:, None]
    cosines = torch.where(both > 0, products / both, 0.0)
    heads = products.shape[1]
    first, second = torch.triu_indices(heads, heads, offset=1, device=products.device)
    return cosines[:, first, second].mean(-1)


def of_entries(values: Tensor, entries: slice) -> Tensor:
    """What each of some batch entries has of values by window: (1, ...) if that is the same for all."""
    if len(values) == 1:
        return values
    return values[torch.arange(entries.start, entries.stop, device=values.device) % len(values)]


def check_centres(name: str, centres: Tensor, entries: int, tokens: int) -> None:
    """Raises ``ValueError`` for places of other tokens."""
    fits = centres.dim() == 3 and centres.shape[1:] == (tokens, 2) and entries % len(centres) == 0
    if not fits:
        raise ValueError(
            f'{name} must be (windows, {tokens}, 2), windows a divisor of {entries}, got {tuple(centres.shape)}'
        )
