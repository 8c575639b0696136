"""timm's pre-norm transformer blocks with token-aware average pooling before the first norm.

The pooling acts on what the first norm reads, on the patches alone; prefix tokens and the residual pass as they are.
Everything else is timm's block (1.0.31): parameters and keys stay, the pooling adds ``dilation_predictor``.

Legend: B pictures, N tokens, prefix tokens first, C channels; a grid is (rows, columns) of patches.
"""

from collections.abc import Callable

import torch
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from mmseg_tapadl.layers.token_aware_pooling import TokenAwareAvgPool, pooled_tokens
from mmseg_tapadl.utils.errors import InputError


class TAPBlock(Block):
    """timm's ``Block`` (ViT, DeiT, DINOv2, SigLIP, C-RADIO)."""

    dilation_predictor: nn.Module

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """Maps tokens (B, N, C) on a grid to tokens of the same shape."""
        pooled = pool_patches(self.dilation_predictor, x, grid)
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(pooled))))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class TAPEvaBlock(EvaBlock):
    """timm's ``EvaBlock`` (EVA-02, DINOv3, Perception Encoder)."""

    dilation_predictor: nn.Module

    def forward(  # type: ignore[override]
        self, x: Tensor, grid: tuple[int, int], rope: Tensor | None = None
    ) -> Tensor:
        """Maps tokens (B, N, C) on a grid to tokens of the same shape."""
        pooled = pool_patches(self.dilation_predictor, x, grid)
        x = x + self.drop_path1(scaled(self.attn(self.norm1(pooled), rope=rope), self.gamma_1))
        return x + self.drop_path2(scaled(self.mlp(self.norm2(x)), self.gamma_2))


POOLED = {Block: TAPBlock, EvaBlock: TAPEvaBlock}


def check_block(block: nn.Module) -> None:
    """Raises :class:`InputError` for a block that is not one of timm's pre-norm blocks."""
    if type(block) in POOLED:
        return
    names = ' and '.join(cls.__name__ for cls in POOLED)
    reason = (
        'it norms after the attention, so there is no place for the pooling before the norm'
        if 'Post' in type(block).__name__
        else 'its attention and MLP are not one after the other behind norms of their own'
        if 'Parallel' in type(block).__name__
        else 'what it computes is not known here'
    )
    raise InputError(f'{type(block).__name__}: {reason}; known are {names}')


def add_pooling(
    block: nn.Module, dim: int, num_branches: int, norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d
) -> None:
    """Turns one of timm's blocks into its subclass with pooling, in place: the same parameters and keys."""
    place_pooling(block, TokenAwareAvgPool(dim, num_branches, norm_layer=norm_layer))


def place_pooling(block: nn.Module, pooling: nn.Module) -> None:
    """Turns one of timm's blocks into its subclass with a pooling of tokens (B, C, H, W) to the same shape, in place."""
    check_block(block)
    block.__class__ = POOLED[type(block)]
    block.dilation_predictor = pooling


def pool_patches(pooling: nn.Module, x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Pools the patches of tokens (B, N, C); the N - rows x columns prefix tokens in front stay as they are."""
    num_prefix = x.shape[1] - grid[0] * grid[1]
    patches = pooled_tokens(pooling, x[:, num_prefix:], grid)
    return torch.cat((x[:, :num_prefix], patches), dim=1) if num_prefix else patches


def scaled(x: Tensor, gamma: Tensor | None) -> Tensor:
    """x times a layer scale (C,), where there is one."""
    return x if gamma is None else gamma * x
