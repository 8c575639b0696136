"""Every size of every family, as the config that builds it; with TAP unless its name says ``plain``."""

from pathlib import Path

from mmengine.config import Config

from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.models.backbones import FAN_ARCHS, MIT_ARCHS

# The small vision transformers of timm, each with TAP and, behind its name, without.
VITS = {'DINOv2': 'dinov2', 'DINOv3': 'dinov3', 'DeiT': 'deit'}


def every_model() -> list[str]:
    """Names such as ``FAN base_hybrid``, ``SegFormer b0``, ``DINOv2 small`` and ``DINOv2 small_plain``."""
    return [
        *(f'FAN {arch}' for arch in FAN_ARCHS),
        *(f'SegFormer {arch}' for arch in MIT_ARCHS),
        *(f'{family} {size}' for family in VITS for size in ('small', 'small_plain')),
    ]


def config_of(model: str, configs: Path) -> Config:
    """The config of a model by its name.

    Args:
        model: One of ``every_model()``.
        configs: The folder of the configs.
    """
    family, arch = model.split(' ')
    if family in VITS:
        method = '' if arch.endswith('_plain') else 'tapadl_'
        return load_config(configs / f'{VITS[family]}_{method}cityscapes.py')
    if family == 'FAN':
        cfg = load_config(configs / 'fan_tapadl_cityscapes.py')
        channels = FAN_ARCHS[arch].feature_channels
    else:
        cfg = load_config(configs / 'segformer_tapadl_cityscapes.py')
        channels = MIT_ARCHS[arch].feature_channels
    cfg.model.backbone.arch = arch
    cfg.model.decode_head.in_channels = channels
    return cfg
