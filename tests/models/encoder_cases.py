"""The encoders that sign the contract: a new one is tested by being listed in ``ENCODERS``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mmseg.registry import MODELS

from tests.models.builders import TINY_ARCH

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'add_an_encoder.md'


@dataclass(frozen=True, kw_only=True)
class EncoderCase:
    """One encoder, tiny, and what can be asked of it.

    Attributes:
        name: Its name in the tests.
        config: What builds it, without the switches below.
        strides: Of each feature; its size is the picture's over the stride, rounded up.
        channels: Of each feature.
        num_attentions: Attentions that a loss can watch.
        supports: Which switches it has: ``tap`` (``dict(num_branches=K)``), ``with_cp``, ``drop_path_rate``, ``drop_rate``.
        size_divisor: What a picture's sides must be divisible by; 1 is any picture, down to one pixel.
    """

    name: str
    config: Mapping[str, Any]
    strides: Sequence[int]
    channels: Sequence[int]
    num_attentions: int
    supports: frozenset[str] = frozenset({'tap', 'with_cp', 'drop_path_rate'})
    size_divisor: int = 1

    def variants(self) -> dict[str, dict[str, Any]]:
        """Its configs by name: as it is, and with TAP where it has it."""
        variants = {self.name: dict(self.config)}
        if 'tap' in self.supports:
            variants[f'{self.name}-tap'] = dict(self.config, tap=dict(num_branches=3))
        return variants


def run_documented_example() -> None:
    """Executes the whole example of docs/add_an_encoder.md, which registers ``WatchedViT``."""
    (example,) = re.findall(r'```python\n(.*?)```', PAGE.read_text(encoding='utf-8'), flags=re.DOTALL)
    exec(compile(example, str(PAGE), 'exec'), {'__name__': 'documented_example'})


def check_registered(cases: Sequence[EncoderCase]) -> None:
    """Ends the run with status 2 if a case names an encoder that is not registered."""
    for case in cases:
        if MODELS.get(case.config['type']) is None:
            pytest.exit(
                f"encoder case '{case.name}': no encoder is registered as '{case.config['type']}'",
                returncode=2,
            )


if 'WatchedViT' not in MODELS:
    run_documented_example()

ENCODERS = [
    EncoderCase(
        name='FAN-hybrid',
        config=dict(type='FAN', arch=TINY_ARCH),
        strides=(4, 8, 16, 16),
        channels=(128, 256, 32, 32),
        num_attentions=3,
    ),
    EncoderCase(
        name='FAN-plain',
        config=dict(type='FAN', arch=dict(embed_dim=32, depth=4, num_heads=4, token_indices=(0, 1, 2))),
        strides=(16, 16, 16, 16),
        channels=(32, 32, 32, 32),
        num_attentions=4,
    ),
    EncoderCase(
        name='MiT',
        config=dict(
            type='TAPMixVisionTransformer',
            arch=dict(
                embed_dims=8,
                num_layers=(2, 1, 1),
                num_heads=(1, 2, 4),
                patch_sizes=(7, 3, 3),
                strides=(4, 2, 2),
                sr_ratios=(4, 2, 1),
            ),
            out_indices=(0, 1, 2),
        ),
        strides=(4, 8, 16),
        channels=(8, 16, 32),
        num_attentions=4,
        supports=frozenset({'tap', 'with_cp', 'drop_path_rate', 'drop_rate'}),
    ),
    EncoderCase(
        name='Swin',
        config=dict(
            type='TAPSwin',
            arch=dict(embed_dims=8, depths=(2, 1, 2), num_heads=(1, 2, 4), window_size=4),
            out_indices=(0, 1, 2),
        ),
        strides=(4, 8, 16),
        channels=(8, 16, 32),
        num_attentions=5,
        supports=frozenset({'tap', 'with_cp', 'drop_path_rate', 'drop_rate'}),
    ),
    EncoderCase(
        name='TimmViT',
        config=dict(type='TimmViT', model='test_vit', out_indices=(0, 2)),
        strides=(16, 16),
        channels=(64, 64),
        num_attentions=3,
    ),
    EncoderCase(
        name='TimmViT-rotary',
        config=dict(type='TimmViT', model='eva02_tiny_patch14_224', out_indices=(0, 1)),
        strides=(14, 14),
        channels=(192, 192),
        num_attentions=2,
    ),
    EncoderCase(
        name='RVT',
        config=dict(
            type='RVT',
            arch=dict(
                embed_dims=(32,), depths=(3,), num_heads=(4,), feature_blocks=(0, 2), feed_forward='plain'
            ),
            out_indices=(0, 1),
        ),
        strides=(16, 16),
        channels=(32, 32),
        num_attentions=3,
    ),
    EncoderCase(
        name='RVT-PAAS',
        config=dict(
            type='RVT',
            arch=dict(
                embed_dims=(16, 32),
                depths=(2, 1),
                num_heads=(2, 4),
                feature_blocks=(0, 1, 2),
                paas_blocks=(0, 1),
                paas_side=4,
            ),
            out_indices=(0, 1, 2),
        ),
        strides=(16, 16, 32),
        channels=(16, 16, 32),
        num_attentions=3,
    ),
    EncoderCase(
        name='documented-ViT',
        config=dict(type='WatchedViT', name='vit_tiny_patch16_224', out_indices=(1, 3, 5)),
        strides=(16, 16, 16),
        channels=(192, 192, 192),
        num_attentions=6,
        supports=frozenset(),
    ),
]
check_registered(ENCODERS)
CASES = [pytest.param(case, config, id=name) for case in ENCODERS for name, config in case.variants().items()]


def cases_that_support(*switches: str) -> list:
    """The cases of encoders that have all these switches."""
    return [case for case in CASES if set(switches) <= case.values[0].supports]
