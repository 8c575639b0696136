"""Samplers that never end, under loops that wait for their end."""

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS

from mmseg_tapadl.agreement.parts import Part


def never_ends(sampler: type) -> bool:
    """Whether samplers of a class draw without end."""
    return issubclass(sampler, InfiniteSampler) or bool(getattr(sampler, 'endless', False))


def compare_samplers(cfg: Any, splits: Sequence[str]) -> list[str]:
    """Finds samplers without end in validation and test; a training counts iterations and may draw without end.

    Args:
        cfg: The config of the run.
        splits: The splits that the run uses.

    Returns:
        The faults, one line each.
    """
    faults = []
    for split in splits:
        config = (cfg.get(f'{split}_dataloader') or {}).get('sampler')
        if split == 'train' or not isinstance(config, dict):
            continue
        sampler = Part(f'{split}_dataloader.sampler', config, DATA_SAMPLERS)
        if sampler.cls is not None and never_ends(sampler.cls):
            faults.append(
                f'{sampler.key} ({sampler.cls.__name__}) never ends, so no pass over the pictures would: write '
                f"{sampler.key}=dict(type='DefaultSampler', shuffle=False)"
            )
    return faults
