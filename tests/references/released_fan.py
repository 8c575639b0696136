"""The released FAN segmenter written out as plain formulas, over a dictionary of tensors.

It is the judge of the converter and of the encoder: it knows the released parameter names and nothing
of the product. Evaluation only, pictures whose sides divide by 16. The class token and the two
class-attention blocks are here in full, as the release runs them, so that leaving them out elsewhere
is checked and not assumed.

Legend: B images, C channels, h x w the token grid, N = h * w tokens, K branches of TAP.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = Mapping[str, Tensor]


def released_features(
    weights: Weights,
    image: Tensor,
    *,
    depth: int,
    heads: int,
    out_index: int | None,
    prefix: str = 'backbone.',
) -> list[Tensor]:
    """The features that the released encoder hands to its head.

    Args:
        weights: A state dict with the released names.
        image: The normalised picture (B, 3, H, W), H and W multiples of 16.
        depth: Number of token blocks.
        heads: Number of attention heads.
        out_index: The block whose tokens are the third feature of a hybrid; ``None`` for the plain
            family, which hands out the tokens of blocks 4, 7 and 11.
        prefix: What stands before the encoder's names.

    Returns:
        Four features: strides 4, 8, 16, 16 for a hybrid, all of stride 16 for the plain family.
    """
    w = Sub(weights, prefix)
    features = []
    if out_index is None:
        x = plain_stem(w.sub('patch_embed.'), image)
        kept = (4, 7, 11)
    else:
        x, features = hybrid_stem(w.sub('patch_embed.'), image)
        kept = (out_index,)
    x = x + position(w.sub('pos_embed.'), x)
    for number in range(depth):
        x = token_block(w.sub(f'blocks.{number}.'), x, heads)
        if number in kept:
            features.append(x)
    grid = x.shape[2:]
    tokens = torch.cat([w['cls_token'].expand(len(x), -1, -1), to_tokens(x)], dim=1)
    for number in range(2):
        tokens = class_attention_block(w.sub(f'cls_attn_blocks.{number}.'), tokens, heads)
    features.append(to_grid(tokens[:, 1:], grid))
    return features


def released_logits(weights: Weights, features: list[Tensor], prefix: str = 'decode_head.') -> Tensor:
    """The released head: features of level 1 to 4 to scores (B, classes, h, w) at level 1's size."""
    w = Sub(weights, prefix)
    size = features[0].shape[2:]
    parts = []
    for level in (4, 3, 2, 1):
        x = features[level - 1]
        x = to_grid(linear(w.sub(f'linear_c{level}.proj.'), to_tokens(x)), x.shape[2:])
        parts.append(F.interpolate(x, size=size, mode='bilinear', align_corners=False))
    x = F.conv2d(torch.cat(parts, dim=1), w['linear_fuse.conv.weight'])
    x = batch_norm(w.sub('linear_fuse.bn.'), x).clamp(min=0)
    return F.conv2d(x, w['linear_pred.weight'], w['linear_pred.bias'])


class Sub:
    """The part of a state dict under a prefix."""

    def __init__(self, weights: Weights, prefix: str):
        self.weights, self.prefix = weights, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[self.prefix + name]

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.weights

    def sub(self, prefix: str) -> 'Sub':
        """The part under a longer prefix."""
        return Sub(self.weights, self.prefix + prefix)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, h, w) to (B, N, C)."""
    return x.flatten(2).transpose(1, 2)


def to_grid(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, N, C) to (B, C, h, w)."""
    return x.transpose(1, 2).reshape(len(x), -1, *grid)


def softmax(x: Tensor, dim: int) -> Tensor:
    """exp over its sum along ``dim``."""
    e = (x - x.amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


def gelu(x: Tensor) -> Tensor:
    """x times the normal distribution function of x."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def linear(w: Sub, x: Tensor) -> Tensor:
    """x W^T + b along the last axis."""
    return x @ w['weight'].T + w['bias']


def layer_norm(w: Sub, x: Tensor, eps: float, *, dim: int = -1, taken_off: int = 0) -> Tensor:
    """Normalises along ``dim``; the sum of squares is divided by its length less ``taken_off``."""
    x = x.movedim(dim, -1)
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) / (x.shape[-1] - taken_off)
    return (centred / (variance + eps).sqrt() * w['weight'] + w['bias']).movedim(-1, dim)


def batch_norm(w: Sub, x: Tensor) -> Tensor:
    """BatchNorm by its stored statistics, eps 1e-5."""
    mean, variance, scale, shift = (
        w[n].view(-1, 1, 1) for n in ('running_mean', 'running_var', 'weight', 'bias')
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def hybrid_stem(w: Sub, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Two ConvNeXt stages and the 2x2 convolution: tokens at stride 16, features at strides 4 and 8."""
    net = w.sub('backbone.')
    x = F.conv2d(image, net['stem.0.weight'], net['stem.0.bias'], stride=4)
    x = layer_norm(net.sub('stem.1.'), x, 1e-6, dim=1)  # the only ordinary norm of the stem
    features = []
    for stage in range(2):
        part = net.sub(f'stages.{stage}.')
        if stage == 1:
            x = layer_norm(part.sub('downsample.0.'), x, 1e-6, dim=1, taken_off=1)
            x = F.conv2d(x, part['downsample.1.weight'], part['downsample.1.bias'], stride=2)
        number = 0
        while f'blocks.{number}.gamma' in part:
            x = convnext_block(part.sub(f'blocks.{number}.'), x)
            number += 1
        features.append(x)
    return F.conv2d(x, w['proj.weight'], w['proj.bias'], stride=2), features


def convnext_block(w: Sub, x: Tensor) -> Tensor:
    """Depthwise 7x7, norm (variance over C - 1), 1x1, GELU, 1x1, layer scale, residual."""
    y = F.conv2d(x, w['conv_dw.weight'], w['conv_dw.bias'], padding=3, groups=x.shape[1])
    y = layer_norm(w.sub('norm.'), y, 1e-6, dim=1, taken_off=1)
    y = gelu(F.conv2d(y, w['mlp.fc1.weight'], w['mlp.fc1.bias']))
    y = F.conv2d(y, w['mlp.fc2.weight'], w['mlp.fc2.bias'])
    return x + w['gamma'].view(-1, 1, 1) * y


def plain_stem(w: Sub, image: Tensor) -> Tensor:
    """Four 3x3 stride-2 convolutions with BatchNorm, GELU between them."""
    x = image
    for number in (0, 2, 4, 6):
        if number:
            x = gelu(x)
        x = F.conv2d(x, w[f'proj.{number}.0.weight'], stride=2, padding=1)
        x = batch_norm(w.sub(f'proj.{number}.1.'), x)
    return x


def position(w: Sub, x: Tensor) -> Tensor:
    """The position code (1, C, h, w): 32 entries for the row, then 32 for the column, projected."""
    height, width = x.shape[2:]
    code = x.new_zeros(1, 64, height, width)
    for row in range(height):
        for column in range(width):
            for axis, (place, last) in enumerate([(row + 1, height), (column + 1, width)]):
                for i in range(32):
                    angle = place / (last + 1e-6) * 2 * math.pi / 10000 ** (i / 32)
                    wave = math.sin if i % 2 == 0 else math.cos
                    code[0, 32 * axis + i, row, column] = wave(angle)
    return F.conv2d(code, w['token_projection.weight'], w['token_projection.bias'])


def token_block(w: Sub, x: Tensor, heads: int) -> Tensor:
    """x + gamma1 MHSA(LN(TAP(x))), then x + gamma2 CP(LN(x)), on the grid (B, C, h, w)."""
    grid = x.shape[2:]
    pooled = (
        token_aware_pooling(w.sub('dilation_predictor.'), x) if 'dilation_predictor.proj.0.weight' in w else x
    )
    tokens = to_tokens(x)
    y = layer_norm(w.sub('norm1.'), to_tokens(pooled), 1e-6)
    tokens = tokens + w['gamma1'] * self_attention(w.sub('attn.'), y, heads)
    y = layer_norm(w.sub('norm2.'), tokens, 1e-6)
    tokens = tokens + w['gamma2'] * channel_processing(w.sub('mlp.'), y, grid)
    return to_grid(tokens, grid)


def token_aware_pooling(w: Sub, x: Tensor) -> Tensor:
    """sum_k w_k A_k(x): identity and dilated 3x3 means (over nine, padding counted), nine copies a branch."""
    mixture = batch_norm(w.sub('proj.1.'), F.conv2d(x, w['proj.0.weight'], padding=1))
    mixture = softmax(F.conv2d(mixture, w['proj.2.weight'], padding=1), dim=1)  # (B, K, h, w)
    y = mixture[:, :1] * x
    for k in range(1, mixture.shape[1]):
        copies = F.unfold(x, 3, dilation=k, padding=k).view(len(x), x.shape[1], 9, *x.shape[2:])
        y = y + mixture[:, k : k + 1] * copies.sum(2) / 9
    return y


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, C) to (B, heads, N, C / heads)."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def self_attention(w: Sub, x: Tensor, heads: int) -> Tensor:
    """Multi-head self-attention; kv holds all of k, then all of v."""
    q = split_heads(linear(w.sub('q.'), x), heads)
    k, v = (split_heads(part, heads) for part in linear(w.sub('kv.'), x).chunk(2, dim=-1))
    attention = softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
    return linear(w.sub('proj.'), (attention @ v).transpose(1, 2).flatten(2))


def channel_processing(w: Sub, x: Tensor, grid: tuple[int, int]) -> Tensor:
    """temperature * sigmoid(q^T k), one gate a channel, times LN(MLP(x))."""
    heads = len(w['temperature'])
    q = softmax(split_heads(linear(w.sub('q.'), x), heads), dim=2)  # over the tokens
    k = softmax(split_heads(x, heads), dim=2).mean(dim=-1, keepdim=True)  # (B, heads, N, 1)
    gate = w['temperature'] * torch.sigmoid(q.transpose(-2, -1) @ k)  # (B, heads, d, 1)
    v = layer_norm(w.sub('norm_v.'), processing_mlp(w.sub('mlp_v.'), x, grid), 1e-5)
    return v * gate.flatten(1).unsqueeze(1)


def processing_mlp(w: Sub, x: Tensor, grid: tuple[int, int]) -> Tensor:
    """fc1, plus gamma times a depthwise pair on the grid, fc2; no other activation."""
    u = linear(w.sub('fc1.'), x)
    y = to_grid(u, grid)
    y = gelu(F.conv2d(y, w['dwconv.conv1.weight'], w['dwconv.conv1.bias'], padding=1, groups=y.shape[1]))
    y = batch_norm(w.sub('dwconv.bn.'), y)
    y = F.conv2d(y, w['dwconv.conv2.weight'], w['dwconv.conv2.bias'], padding=1, groups=y.shape[1])
    return linear(w.sub('fc2.'), u + w['gamma'] * to_tokens(y))


def class_attention_block(w: Sub, x: Tensor, heads: int) -> Tensor:
    """CaiT's class attention with the norm over all tokens: x is (B, 1 + N, C), the class token first."""
    y = layer_norm(w.sub('norm1.'), x, 1e-6)
    q = split_heads(linear(w.sub('attn.q.'), y[:, :1]), heads)
    k, v = (split_heads(linear(w.sub(f'attn.{name}.'), y), heads) for name in 'kv')
    attention = softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
    read = linear(w.sub('attn.proj.'), (attention @ v).transpose(1, 2).flatten(2))
    x = x + w['gamma1'] * torch.cat([read, y[:, 1:]], dim=1)
    x = layer_norm(w.sub('norm2.'), x, 1e-6)
    hidden = gelu(linear(w.sub('mlp.fc1.'), x[:, :1]))
    processed = w['gamma2'] * linear(w.sub('mlp.fc2.'), hidden)
    return x + torch.cat([processed, x[:, 1:]], dim=1)
