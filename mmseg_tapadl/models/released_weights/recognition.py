"""What a file of released weights is: which release, which part of it to use, which size."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmseg_tapadl.models.backbones.fan_arch import FAN_ARCHS
from mmseg_tapadl.utils import InputError

EXPECTED = (
    "a segmentation checkpoint of FAN ('backbone.blocks.0.attn.kv.weight', 'decode_head.linear_pred.weight', ...) "
    "or an ImageNet checkpoint of FAN ('blocks.0.attn.kv.weight', 'head.weight', ...), "
    "with or without 'module.' before every name"
)
# A name that only FAN has: channel processing.
SIGNATURE = 'blocks.0.mlp.mlp_v.fc1.weight'
MODULE = 'module.'


class WrongWeightsError(InputError):
    """A file does not hold the weights that were expected; the message says what was, and what it holds."""


@dataclass(frozen=True)
class ReleasedWeights:
    """A released file, recognised.

    Attributes:
        weights: The chosen weights, ``module.`` taken off.
        is_segmentor: Encoder and decode head (``backbone.``, ``decode_head.``), or an encoder with a classifier.
        from_ema: The averaged weights were chosen.
        had_module: Every name stood behind ``module.``.
        arch: The size, a name in ``FAN_ARCHS``.
        num_branches: Branches of TAP, or ``None``.
    """

    weights: Mapping[str, Tensor]
    is_segmentor: bool
    from_ema: bool
    had_module: bool
    arch: str
    num_branches: int | None

    @property
    def encoder_prefix(self) -> str:
        """What stands before the encoder's names."""
        return 'backbone.' if self.is_segmentor else ''

    def describe(self) -> str:
        """One line for a person."""
        release = "NVIDIA's" if self.num_branches is None else "the paper's"
        what = 'segmentation checkpoint' if self.is_segmentor else 'ImageNet checkpoint'
        tap = 'without TAP' if self.num_branches is None else f'with TAP (num_branches={self.num_branches})'
        notes = ['averaged (EMA) weights'] if self.from_ema else []
        notes += ["names behind 'module.'"] if self.had_module else []
        return ', '.join([f'{release} {what} of FAN {self.arch}', tap, *notes])

    def facts(self) -> dict[str, Any]:
        """What a converted checkpoint says of its structure."""
        return dict(arch=self.arch, num_branches=self.num_branches)


def recognise(checkpoint: Mapping[str, Any], *, use_ema: bool = True) -> ReleasedWeights:
    """Finds out what a checkpoint is, from its names and shapes alone.

    Args:
        checkpoint: What the file holds.
        use_ema: Take averaged weights where the file has them.

    Raises:
        WrongWeightsError: It holds no weights, those of another model, or of a size that was never released.
    """
    weights, from_ema = choose_weights(checkpoint, use_ema)
    had_module = all(name.startswith(MODULE) for name in weights)
    if had_module:
        weights = {name.removeprefix(MODULE): value for name, value in weights.items()}
    is_segmentor = any(name.startswith('decode_head.') for name in weights)
    prefix = 'backbone.' if is_segmentor else ''
    if prefix + SIGNATURE not in weights:
        raise WrongWeightsError(f'{other_model(weights)}; expected {EXPECTED}')
    if not is_segmentor and 'cls_token' not in weights and not any(n.startswith('head.') for n in weights):
        raise WrongWeightsError('it looks converted already: FAN names without class token and classifier')
    if (
        is_segmentor
        and 'decode_head.linear_pred.weight' not in weights
        and 'backbone.cls_token' not in weights
    ):
        raise WrongWeightsError("it looks converted already: 'decode_head.conv_seg' is its last layer")
    encoder = {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
    return ReleasedWeights(
        weights=weights,
        is_segmentor=is_segmentor,
        from_ema=from_ema,
        had_module=had_module,
        arch=arch_of(encoder),
        num_branches=length(encoder, 'blocks.0.dilation_predictor.proj.0.weight', axis=0),
    )


def choose_weights(checkpoint: Mapping[str, Any], use_ema: bool) -> tuple[dict[str, Tensor], bool]:
    """The weights within a checkpoint, and whether they are the averaged ones."""
    from_ema = use_ema and bool(checkpoint.get('state_dict_ema'))
    key = 'state_dict_ema' if from_ema else 'state_dict'
    weights = checkpoint.get(key, checkpoint)
    if not isinstance(weights, Mapping):
        raise WrongWeightsError(f"'{key}' is a {type(weights).__name__}, not a dict of weights")
    strange = [name for name, value in weights.items() if not isinstance(value, Tensor)]
    if strange or not weights:
        holds = f"'{strange[0]}' is a {type(weights[strange[0]]).__name__}" if strange else 'it is empty'
        raise WrongWeightsError(f'no dict of weights in it: {holds}; expected {EXPECTED}')
    return dict(weights), from_ema


def arch_of(encoder: Mapping[str, Tensor]) -> str:
    """The size of an encoder from its names and shapes.

    Raises:
        WrongWeightsError: No released size; the sizes are listed.
    """
    found = dict(
        embed_dim=length(encoder, SIGNATURE, axis=1),
        depth=count(encoder, r'blocks\.(\d+)\.'),
        num_heads=length(encoder, 'blocks.0.mlp.temperature', axis=0),
        stem_depths=tuple(
            depth
            for stage in (0, 1)
            if (depth := count(encoder, rf'patch_embed\.backbone\.stages\.{stage}\.blocks\.(\d+)\.'))
        ),
    )
    for name, sizes in FAN_ARCHS.items():
        if all(getattr(sizes, field) == value for field, value in found.items()):
            return name
    known = '; '.join(
        f'{name}: {", ".join(f"{field} {getattr(sizes, field)}" for field in found)}'
        for name, sizes in FAN_ARCHS.items()
    )
    text = ', '.join(f'{field} {value}' for field, value in found.items())
    raise WrongWeightsError(f'a FAN of no released size ({text}); expected one of {known}')


def length(encoder: Mapping[str, Tensor], name: str, axis: int) -> int | None:
    """The length of a weight along an axis; ``None`` if there is no such weight or axis."""
    return encoder[name].shape[axis] if name in encoder and encoder[name].ndim > axis else None


def count(encoder: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers a pattern finds at the start of the names."""
    return len({match[1] for name in encoder if (match := re.match(pattern, name))})


def other_model(weights: Mapping[str, Tensor]) -> str:
    """Names what a file holds that is not FAN, as far as it can be told."""
    names = [name.removeprefix('backbone.') for name in weights]
    some = ', '.join(f"'{name}'" for name in list(weights)[:3])
    if any(re.match(r'layers\.\d+\.1\.\d+\.attn\.attn\.in_proj_weight', name) for name in names):
        return (
            f"not FAN but SegFormer's MiT under mmseg's names ({some}, ...), which needs no conversion: "
            'give it to tools/test.py with configs/segformer_cityscapes.py, or to tools/train.py --pretrained'
        )
    if any(re.match(r'(block1\.0\.attn\.q|module\.block1)', name) for name in names):
        return f"not FAN but SegFormer's MiT under its original names ({some}, ...): mmseg's mit2mmseg.py converts it"
    return f'not FAN: it holds {len(weights)} weights such as {some}'
