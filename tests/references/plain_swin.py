"""Swin by plain formulas, written from the paper's text and the released names; it knows nothing of the product.

Everything is computed window by window and head by head where that is how it is said.

Legend: B pictures, C channels, H x W tokens, w side of a window, h heads.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def made_up_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Weights at which norms, biases, tables and scores all matter, in float64."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator, dtype=torch.float64)
        if name.endswith('running_var'):
            value = value.abs() + 0.5
        elif name.endswith('qkv.weight'):
            value *= 3.0 / shape[-1] ** 0.5  # attention far from uniform
        elif value.ndim > 1 and 'table' not in name:
            value *= 1.0 / value[0].numel() ** 0.5
        elif name.endswith('.weight'):
            value = 1 + 0.3 * value
        weights[name] = value
    return weights


def plain_swin(
    weights: dict[str, Tensor], picture: Tensor, *, depths, heads, window: int, threshold: float = 2.0
) -> tuple[list[Tensor], list[Tensor]]:
    """Features (B, C, H, W) of every stage and the similarity, (B * windows,), of every block.

    Args:
        weights: Under mmseg's names; TAP where a block has ``dilation_predictor``, with its batch norm's running
            statistics.
        picture: (B, 3, height, width).
        depths: Blocks of each stage.
        heads: Heads of each stage.
        window: w.
        threshold: tau.
    """
    x = F.pad(picture, (0, -picture.shape[3] % 4, 0, -picture.shape[2] % 4))
    x = F.conv2d(
        x, weights['patch_embed.projection.weight'], weights['patch_embed.projection.bias'], stride=4
    )
    x = norm(x.permute(0, 2, 3, 1), weights, 'patch_embed.norm')  # (B, H, W, C) from here on
    features, similarities = [], []
    for stage, (depth, number) in enumerate(zip(depths, heads, strict=True)):
        for block in range(depth):
            prefix = f'stages.{stage}.blocks.{block}.'
            shift = window // 2 if block % 2 else 0
            pooled = tap(x, weights, f'{prefix}dilation_predictor.proj.')
            attended, similarity = window_attention(
                norm(pooled, weights, f'{prefix}norm1'),
                weights,
                f'{prefix}attn.w_msa.',
                number,
                window,
                shift,
                threshold,
            )
            x = x + attended
            hidden = F.gelu(linear(norm(x, weights, f'{prefix}norm2'), weights, f'{prefix}ffn.layers.0.0'))
            x = x + linear(hidden, weights, f'{prefix}ffn.layers.1')
            similarities.append(similarity)
        features.append(norm(x, weights, f'norm{stage}').permute(0, 3, 1, 2))
        if stage + 1 < len(depths):
            x = halved(x, weights, f'stages.{stage}.downsample.')
    return features, similarities


def norm(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f'{name}.weight'], weights[f'{name}.bias'], eps=1e-5)


def linear(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return F.linear(x, weights[f'{name}.weight'], weights.get(f'{name}.bias'))


def tap(x: Tensor, weights: dict[str, Tensor], prefix: str) -> Tensor:
    """Each token's own mixture of 3x3 means, on the whole grid; the tokens themselves without TAP."""
    if f'{prefix}0.weight' not in weights:
        return x
    x = x.permute(0, 3, 1, 2)
    logits = F.conv2d(x, weights[f'{prefix}0.weight'], padding=1)
    mean, var = weights[f'{prefix}1.running_mean'], weights[f'{prefix}1.running_var']
    logits = F.batch_norm(
        logits, mean, var, weights[f'{prefix}1.weight'], weights[f'{prefix}1.bias'], eps=1e-5
    )
    mixture = F.conv2d(logits, weights[f'{prefix}2.weight'], padding=1).softmax(1)
    total = x * mixture[:, :1]
    rows, columns = x.shape[2:]
    for k in range(1, mixture.shape[1]):
        around = F.pad(x, (k, k, k, k))
        steps = (0, k, 2 * k)
        mean = sum(around[:, :, i : i + rows, j : j + columns] for i in steps for j in steps) / 9
        total = total + mean * mixture[:, k : k + 1]
    return total.permute(0, 2, 3, 1)


def window_attention(x, weights, prefix, heads, window, shift, threshold):
    """Attention among the tokens of a window that were neighbours before the shift, window by window.

    Returns:
        The attended grid (B, H, W, C), and the similarity of each window of each picture.
    """
    batch, rows, columns = x.shape[:3]
    x = F.pad(x, (0, 0, 0, -columns % window, 0, -rows % window))
    padded = x.shape[1:3]
    out = torch.zeros_like(x)
    table = weights[f'{prefix}relative_position_bias_table']
    similarities = []
    for picture in range(batch):
        for top in range(0, padded[0], window):
            for left in range(0, padded[1], window):
                # Where the tokens of this window lie in the grid: the window reaches round its edges.
                places = [
                    ((top + i + shift) % padded[0], (left + j + shift) % padded[1])
                    for i in range(window)
                    for j in range(window)
                ]
                tokens = torch.stack([x[picture, i, j] for i, j in places])
                bias = position_bias(places_in_window(window), table, window)
                if shift:
                    bias = bias + apart(places, top, left, padded, window, shift)
                values, similarity = attend(tokens, weights, prefix, heads, bias, threshold)
                similarities.append(similarity)
                for (i, j), value in zip(places, values, strict=True):
                    out[picture, i, j] = value
    return out[:, :rows, :columns], torch.stack(similarities)


def places_in_window(window: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(window) for j in range(window)]


def position_bias(places, table, window) -> Tensor:
    """(heads, tokens, tokens): the table's entry of how far the query lies behind the key."""
    index = torch.tensor(
        [
            [(qi - ki + window - 1) * (2 * window - 1) + (qj - kj + window - 1) for ki, kj in places]
            for qi, qj in places
        ]
    )
    return table[index].permute(2, 0, 1)


def apart(places, top, left, padded, window, shift) -> Tensor:
    """-100 between tokens of a window that the shift brought together from the grid's two ends."""

    def wrapped(place):
        # In the last row (column) of windows, those that came round from the first rows (columns).
        return (
            top + window == padded[0] and place[0] < shift,
            left + window == padded[1] and place[1] < shift,
        )

    return torch.tensor(
        [[0.0 if wrapped(q) == wrapped(k) else -100.0 for k in places] for q in places], dtype=torch.float64
    )


def attend(tokens, weights, prefix, heads, bias, threshold):
    """Values (tokens, C) of one window of one picture, and how alike its queries attend."""
    q, k, v = linear(tokens, weights, f'{prefix}qkv').chunk(3, dim=-1)
    size = tokens.shape[-1] // heads
    joined, attention = [], 0.0
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        p = (q[:, part] @ k[:, part].T / size**0.5 + bias[head]).softmax(-1)
        joined.append(p @ v[:, part])
        attention = attention + p / heads
    values = linear(torch.cat(joined, dim=-1), weights, f'{prefix}proj')
    limit = threshold / len(tokens)
    mean = attention.mean(0)
    kept_mean = torch.where(mean > limit, mean, 0.0)
    cosines = []
    for row in attention:
        kept = torch.where(row > limit, row, 0.0)
        empty = (kept == 0).all() or (kept_mean == 0).all()
        cosines.append(0.0 * row.sum() if empty else kept @ kept_mean / kept.norm() / kept_mean.norm())
    return values, torch.stack(cosines).mean()


def halved(x: Tensor, weights: dict[str, Tensor], prefix: str) -> Tensor:
    """Four neighbours become one token; mmseg lays their channels out channel by channel, row by row."""
    x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    four = torch.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=-1).flatten(-2)
    return linear(norm(four, weights, f'{prefix}norm'), weights, f'{prefix}reduction')
