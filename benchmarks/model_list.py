"""Every size of every family, as the config that builds it; with TAP unless its name says ``plain``."""

from pathlib import Path

from mmengine.config import Config

from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.models.backbones import FAN_ARCHS, MIT_ARCHS
from mmseg_tapadl.models.backbones.rvt_arch import get_rvt_arch

# The smallest vision transformer of each of timm's families, by its name there and its width; each with TAP and, behind
# its name, without. The first three have configs of their own, the others stand in DeiT's.
VITS = {
    'DINOv2': ('dinov2', 'small', 'vit_small_patch14_reg4_dinov2', 384),
    'DINOv3': ('dinov3', 'small', 'vit_small_patch16_dinov3', 384),
    'DeiT': ('deit', 'small', 'deit_small_patch16_224', 384),
    'DeiT-3': ('deit', 'small', 'deit3_small_patch16_224', 384),
    'ViT': ('deit', 'small', 'vit_small_patch16_224', 384),
    'EVA-02': ('deit', 'small', 'eva02_small_patch14_336', 384),
    'PE-spatial': ('deit', 'small', 'vit_pe_spatial_small_patch16_512', 384),
    'SigLIP-2': ('deit', 'base', 'vit_base_patch16_siglip_512', 768),
    'C-RADIO': ('deit', 'base', 'vit_base_patch16_radio_v3', 768),
    'TIPSv2': ('deit', 'base', 'vit_base_patch14_reg1_tipsv2', 768),
}
RVTS = ('tiny', 'small', 'base', 'tiny_plus', 'small_plus', 'base_plus')


def every_model() -> list[str]:
    """Names such as ``FAN base_hybrid``, ``SegFormer b0``, ``Swin tiny`` and ``DINOv2 small_plain``."""
    return [
        *(f'FAN {arch}' for arch in FAN_ARCHS),
        *(f'SegFormer {arch}' for arch in MIT_ARCHS),
        'Swin tiny',
        *(f'RVT {arch}' for arch in RVTS),
        *(f'{family} {size}{form}' for family, (_, size, *_) in VITS.items() for form in ('', '_plain')),
    ]


def config_of(model: str, configs: Path) -> Config:
    """The config of a model by its name.

    Args:
        model: One of ``every_model()``.
        configs: The folder of the configs.
    """
    family, arch = model.split(' ')
    if family in VITS:
        stem, _, name, width = VITS[family]
        method = '' if arch.endswith('_plain') else 'tapadl_'
        cfg = load_config(configs / f'{stem}_{method}cityscapes.py')
        cfg.model.backbone.model = name
        cfg.model.decode_head.update(in_channels=[width] * 4, channels=4 * width)
        return cfg
    if family == 'Swin':
        return load_config(configs / 'swin_tapadl_cityscapes.py')
    if family == 'RVT':
        cfg = load_config(configs / 'rvt_tapadl_cityscapes.py')
        cfg.model.backbone.arch = arch
        cfg.model.decode_head.in_channels = list(get_rvt_arch(arch).feature_channels)
        return cfg
    if family == 'FAN':
        cfg = load_config(configs / 'fan_tapadl_cityscapes.py')
        channels = FAN_ARCHS[arch].feature_channels
    else:
        cfg = load_config(configs / 'segformer_tapadl_cityscapes.py')
        channels = MIT_ARCHS[arch].feature_channels
    cfg.model.backbone.arch = arch
    cfg.model.decode_head.in_channels = channels
    return cfg
