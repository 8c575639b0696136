"""Rotary positions of DINOv3 from sizes that may be symbols, so that a graph exported for any size is one for any size.

timm (1.0.31) turns a grid's sides into numbers of Python, which an exporter fixes to those of its example.
"""

import torch
from timm.layers import RotaryEmbeddingDinoV3, is_exporting
from torch import Tensor, nn


class SymbolicRotaryEmbedding(RotaryEmbeddingDinoV3):
    """timm's ``RotaryEmbeddingDinoV3``; where it is exported, the same positions without a number of Python."""

    def _create_embed(self, feat_shape: list[int], no_aug: bool = False) -> Tensor:
        """Sines and cosines (rows x columns, 2 D) of the patches of a grid, row by row."""
        known = self.normalize_coords == 'separate' and self.grid_indexing == 'ij'
        if not is_exporting() or not known or (self.training and not no_aug):
            return super()._create_embed(feat_shape, no_aug)
        sides = [(torch.arange(side) + (0.5 + self.grid_offset)) / side for side in feat_shape]
        grid = torch.stack(torch.meshgrid(*sides, indexing='ij'), -1)
        return torch.cat(self._get_pos_embed_from_coords(2.0 * grid.flatten(0, 1) - 1.0), -1)


def keep_sizes_as_symbols(rope: nn.Module | None) -> None:
    """Turns rotary positions of DINOv3 into the subclass above, in place; any other are left alone."""
    if type(rope) is RotaryEmbeddingDinoV3:
        rope.__class__ = SymbolicRotaryEmbedding
