"""Made-up checkpoints under the released names and shapes, in each of the released containers.

The released files themselves cannot be part of a test suite. Their names and shapes are facts, so a
made-up file of the same form exercises everything but the values. ``tests/data/official_keys`` holds the names and
shapes of three released files, taken from the files themselves.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReleasedArch:
    """The sizes of one released encoder; ``stem`` and ``out_index`` are ``None`` in the plain family."""

    dim: int
    depth: int
    heads: int
    stem: tuple[int, int] | None = None
    out_index: int | None = None

    @property
    def feature_channels(self) -> list[int]:
        """Channels of the four features."""
        return [128, 256, self.dim, self.dim] if self.stem else [self.dim] * 4


RELEASED = {
    'tiny_hybrid': ReleasedArch(192, 8, 8, (3, 3), 7),
    'small_hybrid': ReleasedArch(384, 10, 8, (3, 3), 9),
    'base_hybrid': ReleasedArch(448, 16, 8, (3, 3), 15),
    'large_hybrid': ReleasedArch(480, 22, 10, (3, 5), 18),
    'tiny': ReleasedArch(192, 12, 4),
    'small': ReleasedArch(384, 12, 8),
    'base': ReleasedArch(448, 18, 8),
    'large': ReleasedArch(480, 24, 10),
}

Shapes = dict[str, tuple[int, ...]]

_OFFICIAL = Path(__file__).resolve().parents[1] / 'data' / 'official_keys'


def official_shapes(name: str) -> Shapes:
    """Names and shapes of a released file, in its order, for instance of ``tapadl_fan_base_segmentation``."""
    listed = json.loads((_OFFICIAL / f'{name}.json').read_text(encoding='utf-8'))
    return {key: tuple(shape) for key, shape in listed.items()}


def affine(name: str, channels: int) -> Shapes:
    """Weight and bias of a norm."""
    return {f'{name}.weight': (channels,), f'{name}.bias': (channels,)}


def batch_norm(name: str, channels: int) -> Shapes:
    """Everything a BatchNorm stores."""
    statistics: Shapes = {f'{name}.running_mean': (channels,), f'{name}.running_var': (channels,)}
    return affine(name, channels) | statistics | {f'{name}.num_batches_tracked': ()}


def weighted(name: str, *shape: int) -> Shapes:
    """Weight and bias of a linear layer or a convolution."""
    return {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def encoder_shapes(arch: ReleasedArch, branches: int | None) -> Shapes:
    """Names and shapes of a released encoder, without a prefix; ``branches`` of TAP or ``None``."""
    dim, hidden = arch.dim, 4 * arch.dim
    shapes: Shapes = {'cls_token': (1, 1, dim)}
    if arch.stem:
        stem = 'patch_embed.backbone'
        shapes |= weighted(f'{stem}.stem.0', 128, 3, 4, 4) | affine(f'{stem}.stem.1', 128)
        for stage, (depth, width) in enumerate(zip(arch.stem, (128, 256), strict=True)):
            if stage:
                shapes |= affine(f'{stem}.stages.1.downsample.0', 128)
                shapes |= weighted(f'{stem}.stages.1.downsample.1', 256, 128, 2, 2)
            for block in (f'{stem}.stages.{stage}.blocks.{i}' for i in range(depth)):
                shapes |= {f'{block}.gamma': (width,)} | weighted(f'{block}.conv_dw', width, 1, 7, 7)
                shapes |= affine(f'{block}.norm', width)
                shapes |= weighted(f'{block}.mlp.fc1', 4 * width, width, 1, 1)
                shapes |= weighted(f'{block}.mlp.fc2', width, 4 * width, 1, 1)
        shapes |= weighted('patch_embed.proj', dim, 256, 2, 2)
    else:
        widths = (3, dim // 8, dim // 4, dim // 2, dim)
        for i in range(4):
            shapes |= {f'patch_embed.proj.{2 * i}.0.weight': (widths[i + 1], widths[i], 3, 3)}
            shapes |= batch_norm(f'patch_embed.proj.{2 * i}.1', widths[i + 1])
    shapes |= weighted('pos_embed.token_projection', dim, 64, 1, 1)
    for block in (f'blocks.{i}' for i in range(arch.depth)):
        shapes |= {f'{block}.gamma1': (dim,), f'{block}.gamma2': (dim,)}
        shapes |= affine(f'{block}.norm1', dim) | affine(f'{block}.norm2', dim)
        shapes |= weighted(f'{block}.attn.q', dim, dim) | weighted(f'{block}.attn.kv', 2 * dim, dim)
        shapes |= weighted(f'{block}.attn.proj', dim, dim)
        shapes |= {f'{block}.mlp.temperature': (arch.heads, 1, 1), f'{block}.mlp.mlp_v.gamma': (hidden,)}
        shapes |= weighted(f'{block}.mlp.mlp_v.fc1', hidden, dim) | weighted(
            f'{block}.mlp.mlp_v.fc2', dim, hidden
        )
        for i in (1, 2):
            shapes |= weighted(f'{block}.mlp.mlp_v.dwconv.conv{i}', hidden, 1, 3, 3)
        shapes |= batch_norm(f'{block}.mlp.mlp_v.dwconv.bn', hidden)
        shapes |= affine(f'{block}.mlp.norm_v', dim) | weighted(f'{block}.mlp.q', dim, dim)
        if branches is not None:
            pool = f'{block}.dilation_predictor.proj'
            shapes |= {
                f'{pool}.0.weight': (branches, dim, 3, 3),
                f'{pool}.2.weight': (branches, branches, 3, 3),
            }
            shapes |= batch_norm(f'{pool}.1', branches)
    for block in (f'cls_attn_blocks.{i}' for i in range(2)):
        shapes |= {f'{block}.gamma1': (dim,), f'{block}.gamma2': (dim,)}
        shapes |= affine(f'{block}.norm1', dim) | affine(f'{block}.norm2', dim)
        for name in ('q', 'k', 'v', 'proj'):
            shapes |= weighted(f'{block}.attn.{name}', dim, dim)
        shapes |= weighted(f'{block}.mlp.fc1', hidden, dim) | weighted(f'{block}.mlp.fc2', dim, hidden)
    return shapes


def classifier_shapes(arch: ReleasedArch) -> Shapes:
    """What an ImageNet file holds beside the encoder."""
    return affine('norm', arch.dim) | weighted('head', 1000, arch.dim)


def head_shapes(arch: ReleasedArch) -> Shapes:
    """Names and shapes of the released decode head, without a prefix."""
    shapes = weighted('conv_seg', 19, 256, 1, 1)
    for level, channels in enumerate(arch.feature_channels, start=1):
        shapes |= weighted(f'linear_c{level}.proj', 768, channels)
    shapes |= {'linear_fuse.conv.weight': (768, 3072, 1, 1)} | batch_norm('linear_fuse.bn', 768)
    return shapes | weighted('linear_pred', 19, 768, 1, 1)


def fill(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Random weights at which every parameter matters: no norm is an identity, no gate is closed."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        last = name.rsplit('.', 1)[-1]
        if last == 'num_batches_tracked':
            weights[name] = torch.tensor(1000)
        elif last in ('running_var', 'temperature', 'gamma', 'gamma1', 'gamma2') or (
            last == 'weight' and len(shape) == 1
        ):
            weights[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            fan_in = torch.Size(shape[1:]).numel() if len(shape) > 1 else 25
            weights[name] = torch.randn(shape, generator=generator) * fan_in**-0.5
    return weights


def prefixed(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The same weights with something before every name."""
    return {prefix + name: value for name, value in weights.items()}


def segmentation_file(arch: str, branches: int | None, *, seed: int = 0) -> dict:
    """What the paper's segmentation release holds (mmseg 0.x: ``meta`` and ``state_dict``)."""
    size = RELEASED[arch]
    state = prefixed(fill(encoder_shapes(size, branches), seed), 'backbone.')
    state |= prefixed(fill(head_shapes(size), seed + 1), 'decode_head.')
    meta = {'env_info': 'made up', 'seed': None, 'mmseg_version': '0.16.0', 'epoch': 1, 'iter': 160000}
    return {'meta': meta, 'state_dict': state}


def imagenet_file(
    arch: str, branches: int | None, *, seed: int = 0, ema: bool = True, module: bool = False
) -> dict:
    """What timm's trainer writes: the arguments as a Namespace, and averaged weights beside the last ones."""
    size = RELEASED[arch]
    shapes = encoder_shapes(size, branches) | classifier_shapes(size)
    prefix = 'module.' if module else ''
    checkpoint = {
        'epoch': 299,
        'arch': f'fan_{arch}',
        'state_dict': prefixed(fill(shapes, seed), prefix),
        'version': 2,
        'args': argparse.Namespace(model=f'fan_{arch}', lr=4e-4),
        'metric': 83.9,
    }
    if ema:
        checkpoint['state_dict_ema'] = prefixed(fill(shapes, seed + 1), prefix)
    return checkpoint
