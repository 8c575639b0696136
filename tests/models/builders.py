"""Small models built as a config builds them, shared by the tests of this folder."""

import functools
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

import mmseg_tapadl.register  # noqa: F401  registers what the configs name
from mmseg_tapadl.layers import WatchableAttention

TINY_ARCH = dict(embed_dim=32, depth=3, num_heads=4, token_indices=(1,), stem_depths=(1, 1))
"""A hybrid FAN of the same shape as the real ones, small enough for many runs."""

SMALL_ADL = dict(type='AttentionDiversificationLoss')


def build(config: dict[str, Any], seed: int = 0) -> nn.Module:
    """Builds what mmseg's registry knows under ``config['type']``, with weights that depend on the seed alone."""
    init_default_scope('mmseg')
    torch.manual_seed(seed)
    return MODELS.build(ConfigDict(config))


def segmentor_config(
    *,
    backbone: dict[str, Any] | None = None,
    in_channels: tuple[int, ...] = (128, 256, 32, 32),
    loss_attention: dict[str, Any] | None = SMALL_ADL,
    **changes: Any,
) -> dict[str, Any]:
    """A whole segmentor around a tiny FAN with TAP and ADL; keywords replace its parts."""
    config = dict(
        type='AttentionEncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), seg_pad_val=255),
        backbone=backbone or dict(type='FAN', arch=TINY_ARCH, tap=dict(num_branches=4)),
        decode_head=dict(
            type='FANHead',
            in_channels=in_channels,
            channels=48,
            num_classes=19,
            dropout_ratio=0.0,
            norm_cfg=dict(type='BN'),
        ),
        loss_attention=loss_attention,
        test_cfg=dict(mode='whole'),
    )
    return config | changes


def build_segmentor(seed: int = 0, **changes: Any) -> nn.Module:
    """Builds ``segmentor_config(**changes)`` with attention sharp enough that ADL is not zero."""
    model = revert_sync_batchnorm(build(segmentor_config(**changes), seed))
    sharpen_attention(model.backbone)
    return model


def sharpen_attention(encoder: nn.Module, spread: float = 5.0) -> None:
    """Concentrates attention: at its usual initialisation no entry exceeds the threshold and ADL is zero.

    Each watchable attention gets its queries times a factor at which its scores have this standard deviation on a
    picture that is always the same: encoders with equal weights are sharpened alike.
    """
    attentions = [m for m in encoder.modules() if isinstance(m, WatchableAttention)]
    if not attentions:
        return
    picture = batch(1)[0].to(next(encoder.parameters()))
    measuring = [
        attention.register_forward_pre_hook(functools.partial(_measure_and_scale, spread), with_kwargs=True)
        for attention in attentions
    ]
    was_training = encoder.training
    with torch.no_grad():
        encoder.eval()(picture)
    encoder.train(was_training)
    for handle in measuring:
        handle.remove()


def _measure_and_scale(
    spread: float, attention: WatchableAttention, inputs: tuple, options: dict
) -> tuple[tuple, dict]:
    q, k = inputs[:2]
    # Similarity is that of the patches: their scores are spread, whatever the prefix tokens' are.
    patches = slice(options.get('num_prefix', 0), None)
    scale = q.shape[-1] ** -0.5 if attention.scale is None else attention.scale
    factor = spread / (q[:, :, patches] @ k[:, :, patches].mT * scale).std().item()
    attention.register_forward_pre_hook(functools.partial(_scale_queries, factor))
    return _scale_queries(factor, attention, inputs), options


def _scale_queries(factor: float, attention: WatchableAttention, inputs: tuple) -> tuple:
    q, *others = inputs
    return (q * factor, *others)


def batch(
    size: int, height: int = 64, width: int = 64, seed: int = 1
) -> tuple[torch.Tensor, list[SegDataSample]]:
    """Random pictures (size, 3, height, width) with random labels."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(size, 3, height, width, generator=generator)
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=torch.randint(0, 19, (1, height, width), generator=generator)),
            metainfo=dict(img_shape=(height, width), ori_shape=(height, width), pad_shape=(height, width)),
        )
        for _ in range(size)
    ]
    return pictures, samples


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    """The sum that mmengine would step on."""
    return sum(value for name, value in losses.items() if 'loss' in name)
