"""How much rows of attention are alike: its sums over blocks of rows, and its gradient for a block.

The legend and the formulas are those of ``layers/diversified_attention.py``; g are the batch entries and n
the queries of one block.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


class RowMeans:
    """The rows a_i of a block of P, from some of its heads at a time, in room that is used again for each block.

    Args:
        num_heads: H.
        num_prefix: How many of the first queries and keys are no patches.

    Attributes:
        rows: a_i (g, n', M'), after the last heads of a block were added; n' may be 0.
    """

    def __init__(self, num_heads: int, num_prefix: int):
        self.num_heads = num_heads
        self.num_prefix = num_prefix
        self.room: Tensor | None = None

    def patches(self, block: Tensor, rows: slice) -> Tensor:
        """Of a block (g, h, n, M) of the queries ``rows`` the patches (g, h, n', M')."""
        return block[:, :, max(0, self.num_prefix - rows.start) :, self.num_prefix :]

    def add(self, p: Tensor, heads: slice, rows: slice) -> None:
        """Adds some heads of a block: P (g, h, n, M) of the queries ``rows``."""
        patches = self.patches(p, rows)
        if heads.start == 0:
            shape = (patches.shape[0], *patches.shape[2:])
            size = math.prod(shape)
            if self.room is None or self.room.numel() < size:
                self.room = patches.new_empty(size)
            self.rows = self.room[:size].view(shape)
        if patches.shape[1] == self.num_heads:
            torch.mean(patches, 1, out=self.rows)
            return
        for index, head in enumerate(patches.unbind(1), heads.start):
            if index == 0:
                self.rows.copy_(head)
            else:
                self.rows.add_(head)
        if heads.stop == self.num_heads:
            self.rows /= self.num_heads


class SimilaritySums:
    """The two sums over the queries from which the similarity of each batch entry follows.

    Args:
        like: A tensor of the dtype and on the device of the sums.
        num_entries: B.
        num_queries: N'.
        num_keys: M'.
        limit: t.
    """

    def __init__(self, like: Tensor, num_entries: int, num_queries: int, num_keys: int, limit: float):
        self.num_queries = num_queries
        self.limit = limit
        self.rows_sum, self.unit_sum = like.new_zeros(2, num_entries, num_keys)

    def add(self, means: Tensor, entries: slice) -> None:
        """Adds the rows a_i (g, n, M') of some batch entries; they are overwritten."""
        self.rows_sum[entries] += means.sum(1)
        kept = torch.threshold_(means, self.limit, 0.0)
        inverse = inverse_length(kept)
        if len(kept) == 1:
            self.unit_sum[entries][0].addmv_(kept[0].mT, inverse[0, :, 0])
        else:
            self.unit_sum[entries] += (inverse.mT @ kept)[:, 0]

    def finish(self) -> tuple[Tensor, Tensor, Tensor]:
        """The similarities L (B,), and s and u (B, M'), from which the gradient follows."""
        kept_mean = F.threshold(self.rows_sum / self.num_queries, self.limit, 0.0)
        unit_mean = kept_mean * inverse_length(kept_mean)
        return (unit_mean * self.unit_sum).sum(-1) / self.num_queries, kept_mean, self.unit_sum


class SimilarityGradient:
    """What the gradient of the similarity adds to the gradient of each row of P, the same for all heads.

    Args:
        kept_mean: s (g, M').
        unit_sum: u (g, M').
        grad: The gradients of L (g,).
        limit: t.
        num_heads: H.
        num_queries: N'.
    """

    def __init__(
        self,
        kept_mean: Tensor,
        unit_sum: Tensor,
        grad: Tensor,
        *,
        limit: float,
        num_heads: int,
        num_queries: int,
    ):
        inverse = inverse_length(kept_mean)
        self.limit = limit
        self.factor = (grad / (num_heads * num_queries))[:, None, None]
        unit_mean = kept_mean * inverse
        cosine = (unit_mean * unit_sum).sum(-1, keepdim=True)
        through_mean = (unit_sum - cosine * unit_mean) * (inverse / num_queries)
        through_mean = torch.where(kept_mean > 0, through_mean, 0.0)
        self.unit_mean = unit_mean[:, None]
        self.room: Tensor | None = None
        self.through_mean = self.factor * through_mean[:, None]

    def of_rows(self, means: Tensor) -> Tensor:
        """e_i / H (g, n, M') for rows a_i of that shape, which are overwritten."""
        kept = torch.threshold_(means, self.limit, 0.0)
        inverse = inverse_length(kept)
        factor = inverse * self.factor
        cosine = inverse * (
            (kept[0] @ self.unit_mean[0, 0])[None, :, None] if len(kept) == 1 else kept @ self.unit_mean.mT
        )
        # The kept entries of s^, at 1 / |m_i|, less the part along m^_i.
        gradient = torch.sign(kept, out=self.room_like(kept)).mul_(self.unit_mean)
        torch.addcmul(self.through_mean, gradient, factor, out=gradient)
        return gradient.addcmul_(kept, cosine * inverse * factor, value=-1)

    def room_like(self, rows: Tensor) -> Tensor:
        """Room of the shape of rows; the next call gives it out again."""
        if self.room is None or self.room.shape != rows.shape:
            self.room = torch.empty_like(rows)
        return self.room


def inverse_length(x: Tensor) -> Tensor:
    """1 / |x| along the last axis, which is kept; 0 for a zero vector."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.where(length == 0, 0.0, 1.0 / length)
