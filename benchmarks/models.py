"""Whole models and their steps, built from the product's own configs, ours or assembled from the twins."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

import benchmarks.twins  # noqa: F401  registers the twins
from benchmarks.harness import ROOT


def build_model(config: str, device: torch.device, *, twin: bool = False, with_cp: bool = False) -> nn.Module:
    """The model of a config, e.g. ``fan_tapadl_cityscapes`` (FAN-B-Hybrid), from seed 0.

    Assembled from the textbook twins (``twin``) it has the same weights.
    """
    import mmseg_tapadl.register  # noqa: F401  registers what the configs name

    init_default_scope('mmseg')
    settings = Config.fromfile(ROOT / 'configs' / f'{config}.py').model
    settings.backbone.with_cp = with_cp
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(settings))
    if twin:
        weights = model.state_dict()
        settings.backbone.type, settings.decode_head.type = 'TextbookFAN', 'TextbookFANHead'
        model = revert_sync_batchnorm(MODELS.build(settings))
        model.load_state_dict(weights)
    return model.to(device)


def random_batch(
    size: int, height: int, width: int, device: torch.device
) -> tuple[Tensor, list[SegDataSample]]:
    """Pictures, as if preprocessed, and their labels."""
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randn(size, 3, height, width, generator=generator).to(device)
    shape = (height, width)
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=torch.randint(0, 19, (1, *shape), generator=generator).to(device)),
            metainfo=dict(img_shape=shape, ori_shape=shape, pad_shape=shape),
        )
        for _ in range(size)
    ]
    return pictures, samples


class TrainingStep:
    """One training step: encoder, head, cross entropy, ADL where the config has it, backward, AdamW.

    Args:
        config: Name of a config.
        side: Height and width of the pictures.
        device: Where to train.
        batch: Pictures a step.
        amp: Dtype of autocast, or ``None``.
        twin: Assembled from the textbook twins.
        with_cp: Activation checkpointing.
    """

    def __init__(
        self,
        config: str,
        side: int,
        device: torch.device,
        *,
        batch: int = 1,
        amp: torch.dtype | None = None,
        twin: bool = False,
        with_cp: bool = False,
    ):
        self.model = build_model(config, device, twin=twin, with_cp=with_cp).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=6e-5, weight_decay=0.01, fused=True)
        self.inputs, self.samples = random_batch(batch, side, side, device)
        self.device, self.amp = device, amp
        self.facts: dict[str, Any] = {'losses': []}
        torch.manual_seed(2)  # drop path and dropout draw the same in every form

    def __call__(self) -> None:
        with torch.autocast(self.device.type, dtype=self.amp, enabled=self.amp is not None):
            losses = self.model(self.inputs, self.samples, mode='loss')
        loss = sum(value for name, value in losses.items() if 'loss' in name)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()  # where mmengine's OptimWrapper has it
        self.facts['losses'].append({name: value.item() for name, value in losses.items() if 'loss' in name})


def build_prediction(config: str, device: torch.device, *, twin: bool) -> Callable[[], Tensor]:
    """Logits of one 1024 x 2048 picture by the config's sliding window (1024, stride 768).

    The twin is the textbook model with mmseg's own ``slide_inference``.
    """
    from mmseg.models.segmentors import EncoderDecoder

    model = build_model(config, device, twin=twin).eval()
    pictures, samples = random_batch(1, 1024, 2048, device)
    slide = EncoderDecoder.slide_inference if twin else type(model).slide_inference

    @torch.no_grad()
    def run() -> Tensor:
        return slide(model, pictures, [dict(sample.metainfo) for sample in samples])

    return run
