"""RVT written out as plain formulas over a dictionary of tensors, and made-up files under its released names.

It is the judge of the encoder and its converter: it knows the released names and the published formulas, and nothing of
the product. Evaluation only, pictures whose sides divide by 16.

Legend: B pictures, C channels, h x w the token grid, N = h * w tokens, H heads, S = 14 the side of the PAAS grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.references.released_checkpoints import Shapes, affine, batch_norm, fill, weighted
from tests.references.released_fan import (
    Sub,
    gelu,
    layer_norm,
    linear,
    softmax,
    split_heads,
    to_grid,
    to_tokens,
    token_aware_pooling,
)
from tests.references.released_fan import batch_norm as norm_by_statistics


@dataclass(frozen=True)
class ReleasedRVT:
    """The sizes of one RVT: one number a stage, and the side of the grid of PAAS."""

    dims: Sequence[int]
    depths: Sequence[int]
    heads: Sequence[int]
    side: int = 14


RELEASED = {
    'tiny': ReleasedRVT((192, 384), (10, 2), (6, 12)),
    'small': ReleasedRVT((384,), (12,), (6,)),
    'base': ReleasedRVT((768,), (12,), (12,)),
}


def rvt_shapes(
    arch: ReleasedRVT, *, feed_forward: str = 'conv', paas: Sequence[int] = (), branches: int | None = None
) -> Shapes:
    """Names and shapes of a released file: the encoder and its classifier."""
    shapes = weighted('patch_embed.proj.0', 32, 3, 7, 7) | batch_norm('patch_embed.proj.1', 32)
    shapes |= weighted('patch_embed.proj.3', arch.dims[0], 32, 4, 4)
    number = 0
    for stage, (dim, depth, heads) in enumerate(zip(arch.dims, arch.depths, arch.heads, strict=True)):
        for index in range(depth):
            block = f'transformers.{stage}.blocks.{index}'
            shapes |= affine(f'{block}.norm1', dim) | affine(f'{block}.norm2', dim)
            if number in paas:
                shapes |= {f'{block}.attn.att_mask': (heads, arch.side**2, arch.side**2)}
            shapes |= weighted(f'{block}.attn.qkv', 3 * dim, dim) | weighted(f'{block}.attn.proj', dim, dim)
            kernel = (1, 1) if feed_forward == 'conv' else ()
            shapes |= weighted(f'{block}.mlp.fc1', 4 * dim, dim, *kernel)
            if feed_forward == 'conv':
                shapes |= batch_norm(f'{block}.mlp.bn1', 4 * dim) | batch_norm(f'{block}.mlp.bn2', 4 * dim)
                shapes |= weighted(f'{block}.mlp.dwconv', 4 * dim, 1, 3, 3) | batch_norm(
                    f'{block}.mlp.bn3', dim
                )
            shapes |= weighted(f'{block}.mlp.fc2', dim, 4 * dim, *kernel)
            if branches is not None:
                pool = f'{block}.dilation_predictor.proj'
                shapes |= {f'{pool}.0.weight': (branches, dim, 3, 3)} | batch_norm(f'{pool}.1', branches)
                shapes |= {f'{pool}.2.weight': (branches, branches, 3, 3)}
            number += 1
        if stage + 1 < len(arch.dims):
            shapes |= weighted(f'pools.{stage}.conv', 2 * dim, 1, 3, 3)
    return shapes | affine('norm', arch.dims[-1]) | weighted('head', 1000, arch.dims[-1])


def rvt_weights(arch: ReleasedRVT, *, seed: int = 0, **form) -> dict[str, Tensor]:
    """Made-up weights at which every parameter matters."""
    weights = fill(rvt_shapes(arch, **form), seed)
    for name, value in weights.items():
        if name.endswith('att_mask'):
            value.copy_(2 * torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)))
    return weights


def rvt_tokens(weights: dict[str, Tensor], image: Tensor, arch: ReleasedRVT) -> list[Tensor]:
    """The tokens after every block on their grid (B, C, h, w); those of the last are followed by the final norm."""
    w = Sub(weights, '')
    stem = w.sub('patch_embed.proj.')
    x = F.conv2d(image, stem['0.weight'], stem['0.bias'], stride=2, padding=2)
    x = F.max_pool2d(norm_by_statistics(stem.sub('1.'), x), 3, stride=2, padding=1)
    x = F.conv2d(x, stem['3.weight'], stem['3.bias'], stride=4)
    outputs = []
    for stage, (depth, heads) in enumerate(zip(arch.depths, arch.heads, strict=True)):
        if stage:
            pool = w.sub(f'pools.{stage - 1}.conv.')
            x = F.conv2d(x, pool['weight'], pool['bias'], stride=2, padding=1, groups=x.shape[1])
        for index in range(depth):
            x = token_block(w.sub(f'transformers.{stage}.blocks.{index}.'), x, heads, arch.side)
            outputs.append(x)
    outputs.append(to_grid(layer_norm(w.sub('norm.'), to_tokens(x), 1e-6), x.shape[2:]))
    return outputs


def token_block(w: Sub, x: Tensor, heads: int, side: int) -> Tensor:
    """x + MHSA(LN(TAP(x))), then x + FFN(LN(x)), on the grid (B, C, h, w)."""
    grid = x.shape[2:]
    has_pooling = 'dilation_predictor.proj.0.weight' in w
    pooled = token_aware_pooling(w.sub('dilation_predictor.'), x) if has_pooling else x
    tokens = to_tokens(x)
    p, v = attention_of(
        w.sub('attn.'), layer_norm(w.sub('norm1.'), to_tokens(pooled), 1e-6), heads, grid, side
    )
    tokens = tokens + linear(w.sub('attn.proj.'), (p @ v).transpose(1, 2).flatten(2))
    y = layer_norm(w.sub('norm2.'), tokens, 1e-6)
    mlp = w.sub('mlp.')
    if mlp['fc1.weight'].ndim == 2:
        y = linear(mlp.sub('fc2.'), gelu(linear(mlp.sub('fc1.'), y)))
    else:
        y = F.conv2d(to_grid(y, grid), mlp['fc1.weight'], mlp['fc1.bias'])
        y = gelu(norm_by_statistics(mlp.sub('bn1.'), y))
        y = F.conv2d(y, mlp['dwconv.weight'], mlp['dwconv.bias'], padding=1, groups=y.shape[1])
        y = gelu(norm_by_statistics(mlp.sub('bn2.'), y))
        y = norm_by_statistics(mlp.sub('bn3.'), F.conv2d(y, mlp['fc2.weight'], mlp['fc2.bias']))
        y = to_tokens(y)
    return to_grid(tokens + y, grid)


def attention_of(w: Sub, y: Tensor, heads: int, grid: Sequence[int], side: int) -> tuple[Tensor, Tensor]:
    """The attention (B, H, N, N) with PAAS inside, and the values (B, H, N, d)."""
    q, k, v = (split_heads(part, heads) for part in linear(w.sub('qkv.'), y).chunk(3, dim=-1))
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if 'att_mask' in w:
        a = bilinear(grid, side).to(y)
        scores = scores * (1 / (1 + torch.exp(-(a @ w['att_mask'] @ a.T))))
    return softmax(scores, dim=-1), v


def bilinear(grid: Sequence[int], side: int) -> Tensor:
    """A (N, S*S): each token's centre between the four nearest centres of the S x S grid, weights by distance."""
    a = torch.zeros(grid[0] * grid[1], side * side, dtype=torch.float64)
    for row in range(grid[0]):
        for column in range(grid[1]):
            places = []
            for index, size in ((row, grid[0]), (column, grid[1])):
                place = min(max((index + 0.5) * side / size - 0.5, 0), side - 1)
                low = min(int(place), side - 1)
                places.append([(low, 1 - (place - low)), (min(low + 1, side - 1), place - low)])
            for y, wy in places[0]:
                for x, wx in places[1]:
                    a[row * grid[1] + column, y * side + x] += wy * wx
    return a
