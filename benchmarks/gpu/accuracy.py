"""Rounding errors of the layers against float64, measured by those of their plain forms in the same dtype.

Three ways: the plain form in float64 is the truth; a layer in a smaller dtype may be off by at most twice what the
plain form is off in that dtype, in values and gradients.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_tapadl.layers import (
    FANBlock,
    WatchableAttention,
    diversified_attention,
    fuse_levels,
    normed_classifier,
    token_aware_avg_pool,
)
from mmseg_tapadl.layers.budget import use_budget
from mmseg_tapadl.layers.textbook import (
    textbook_diversified_attention,
    textbook_fuse_levels,
    textbook_token_aware_avg_pool,
)

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
FACTOR = 2.0

Function = Callable[..., Sequence[Tensor]]


@dataclass(frozen=True)
class Case:
    """A layer and its plain form, as functions of tensors that all get gradients.

    Attributes:
        name: Of the layer.
        fast: The layer.
        plain: Ordinary torch operations.
        inputs: Makes the tensors in float64 on a processor, from a generator.
        outputs: What the function returns, by name.
        gradients: What the inputs are, by name; those beyond the last name share it.
        by_autocast: Half types come by autocast over float32 tensors, as in training; otherwise the tensors have them.
    """

    name: str
    fast: Function
    plain: Function
    inputs: Callable[[torch.Generator], list[Tensor]]
    gradients: tuple[str, ...]
    outputs: tuple[str, ...] = ('values',)
    by_autocast: bool = False


def check_accuracy(device: torch.device, *, quick: bool, end: float, skipped: list[str]) -> list[dict]:
    """A row for each layer, dtype and result: its error, the plain form's, the limit and whether it holds.

    Args:
        device: Where to compute.
        quick: Small shapes and few inputs.
        end: ``time.monotonic()`` after which nothing new begins.
        skipped: Gets the names of what was left out.
    """
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # it would make float32 convolutions those of a 19-bit type
    rows = []
    try:
        for case in all_cases(quick):
            for dtype in DTYPES:
                name = f'{case.name}, {str(dtype).removeprefix("torch.")}'
                if time.monotonic() > end:
                    skipped.append(f'accuracy of {name}')
                    continue
                print(f'accuracy of {name}', file=sys.stderr, flush=True)
                rows += compare(case, dtype, device, seeds=range(3 if quick else 6), end=end)
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
    return rows


def compare(
    case: Case, dtype: torch.dtype, device: torch.device, *, seeds: Sequence[int], end: float = float('inf')
) -> list[dict]:
    """The rows of one layer in one dtype; after ``end`` no further seed is taken.

    An error is a root mean square over all its entries and all seeds, relative to that of the truth.
    """
    squares: dict[str, Tensor] = {}
    for seed in seeds:
        if squares and time.monotonic() > end:
            break
        inputs = [x.to(device, dtype) for x in case.inputs(torch.Generator().manual_seed(seed))]
        exact = results(case.plain, inputs, torch.float64, None)
        halves = dtype if case.by_autocast and dtype != torch.float32 else None
        kept = torch.float32 if halves else dtype
        with use_budget(device, recompute=False):
            plain = results(case.plain, inputs, kept, halves)
        fast = results(case.fast, inputs, kept, halves)
        names = [*case.outputs, *case.gradients]
        for i, truth in enumerate(exact):
            name = names[min(i, len(names) - 1)]
            differences = (fast[i].double() - truth, plain[i].double() - truth, truth)
            own = torch.stack([x.square().sum() for x in differences])
            squares[name] = squares.get(name, 0) + own
    rows = []
    for i, (name, sums) in enumerate(squares.items()):
        error, plain_error = (sums[:2] / sums[2]).sqrt().tolist()
        rows.append(
            {
                'layer': case.name,
                'dtype': str(dtype).removeprefix('torch.'),
                'result': name if i < len(case.outputs) else f'gradient of {name}',
                'error': finite(error),
                'plain_error': finite(plain_error),
                'limit': finite(FACTOR * plain_error),
                'holds': error <= FACTOR * plain_error,
            }
        )
    return rows


def finite(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if value - value == 0 else None


def results(
    function: Function, inputs: Sequence[Tensor], dtype: torch.dtype, autocast: torch.dtype | None
) -> list[Tensor]:
    """What a function returns, then the gradients of its inputs."""
    leaves = [nn.Parameter(x.to(dtype, copy=True)) for x in inputs]
    with torch.autocast(leaves[0].device.type, autocast, enabled=autocast is not None):
        outputs = function(*leaves)
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y) for y in outputs]
    torch.autograd.backward(list(outputs), weights)
    return [*(y.detach() for y in outputs), *(x.grad for x in leaves)]


def all_cases(quick: bool) -> list[Case]:
    """Every layer that has a fast form."""
    return [
        attention(*((1, 4, 90, 70, 16) if quick else (1, 8, 2048, 2048, 56))),
        pooling((1, 24, 9, 11) if quick else (2, 448, 64, 64)),
        fusion(40 if quick else 768, 8 if quick else 64),
        classifier((2, 70, 9, 10) if quick else (2, 768, 64, 64)),
        block(32 if quick else 448, (6, 8) if quick else (32, 32)),
    ]


def attention(images: int, heads: int, queries: int, keys: int, channels: int) -> Case:
    """Attention with its similarity; sharp, and with a part that all queries share."""

    def inputs(generator: torch.Generator) -> list[Tensor]:
        while True:
            q = normal(generator, images, heads, queries, channels) + normal(
                generator, images, 1, 1, channels
            )
            k = normal(generator, images, heads, keys, channels) + normal(
                generator, images, 1, keys, channels
            )
            v = normal(generator, images, heads, keys, channels)
            if queries * keys > 1 << 20 or away_from_threshold(2 * q, k):
                return [2 * q, k, v]

    return Case(
        'attention with ADL',
        diversified_attention,
        textbook_diversified_attention,
        inputs,
        outputs=('values', 'similarity'),
        gradients=('q', 'k', 'v'),
    )


def away_from_threshold(q: Tensor, k: Tensor) -> bool:
    """Whether no mean attention is on the threshold: few entries there would show how each form rounds, no more."""
    rows = torch.softmax(q.shape[-1] ** -0.5 * q @ k.mT, -1).mean(1)
    entries = torch.cat([rows.flatten(), rows.mean(1).flatten()])
    return bool((entries * k.shape[2] / 2 - 1).abs().min() > 1e-6)


def pooling(shape: tuple[int, int, int, int]) -> Case:
    """Token-aware pooling by weights that are given."""

    def inputs(generator: torch.Generator) -> list[Tensor]:
        weights = normal(generator, shape[0], 4, *shape[2:]).softmax(1)
        return [normal(generator, *shape), weights]

    return Case(
        'token-aware pooling',
        lambda *x: [token_aware_avg_pool(*x)],
        lambda *x: [textbook_token_aware_avg_pool(*x)],
        inputs,
        gradients=('tokens', 'mixture'),
    )


def fusion(width: int, side: int) -> Case:
    """Levels of strides 4, 8 and 16 of a decode head, projected, upsampled and fused."""
    channels, sides = (16, 24, 32), (side, side // 2, side // 4)

    def inputs(generator: torch.Generator) -> list[Tensor]:
        features = [normal(generator, 1, c, s, s) for c, s in zip(channels, sides, strict=True)]
        weights = [normal(generator, width, c) * c**-0.5 for c in channels]
        biases = [normal(generator, width) for _ in channels]
        return [*features, *weights, *biases, normal(generator, width, 3 * width, 1, 1) * (3 * width) ** -0.5]

    def by(function: Callable) -> Function:
        return lambda *x: [function(x[:3], list(zip(x[3:6], x[6:9], strict=True)), x[9])]

    return Case(
        'fused levels',
        by(fuse_levels),
        by(textbook_fuse_levels),
        inputs,
        ('level 4', 'level 8', 'level 16', 'weights'),
        by_autocast=True,
    )


def classifier(shape: tuple[int, int, int, int]) -> Case:
    """Batch norm, ReLU and the classifier of a decode head."""
    num_classes, channels = 19, shape[1]

    def inputs(generator: torch.Generator) -> list[Tensor]:
        weight = normal(generator, num_classes, channels, 1, 1) * channels**-0.5
        return [
            normal(generator, *shape),
            normal(generator, channels),
            weight,
            normal(generator, num_classes),
        ]

    def fast(x: Tensor, gamma: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
        norm = nn.BatchNorm2d(channels, track_running_stats=False)
        norm.weight, norm.bias = gamma, None
        return [normed_classifier(x, norm, None, weight, bias)]

    def plain(x: Tensor, gamma: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
        return [F.conv2d(F.batch_norm(x, None, None, gamma, training=True).relu(), weight, bias)]

    return Case('normed classifier', fast, plain, inputs, ('features', 'weights'), by_autocast=True)


class TextbookAttention(WatchableAttention):
    """Watched attention by its formula."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return textbook_diversified_attention(q, k, v)[0]


def block(dim: int, grid: tuple[int, int]) -> Case:
    """A whole FAN block with TAP in training, against one that keeps all and attends by the formula."""
    torch.manual_seed(0)
    fast_block, plain_block = (FANBlock(dim, num_heads=4, num_branches=4) for _ in range(2))
    fast_block.attn.core.threshold = 2.0
    plain_block.attn.core = TextbookAttention()
    shapes = {name: p.shape for name, p in fast_block.named_parameters()}

    def inputs(generator: torch.Generator) -> list[Tensor]:
        weights = [
            normal(generator, *shape) * (0.5 if len(shape) == 1 else shape[1:].numel() ** -0.5)
            for shape in shapes.values()
        ]
        return [normal(generator, 2, grid[0] * grid[1], dim), *weights]

    def by(module: FANBlock) -> Function:
        def run(x: Tensor, *weights: Tensor) -> list[Tensor]:
            # Set and not only lent (functional_call): a backward pass that computes again needs them there.
            for name, weight in zip(shapes, weights, strict=True):
                owner, _, own_name = name.rpartition('.')
                setattr(module.get_submodule(owner), own_name, weight)
            return [module.to(x)(x, grid)]

        return run

    return Case(
        'FAN block with TAP', by(fast_block), by(plain_block), inputs, ('tokens', 'weights'), by_autocast=True
    )


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
