"""A segmentor whose attention is heard while it labels a picture."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmseg_tapadl.agreement import check_agreement
from mmseg_tapadl.analysis.listener import AttentionListener, HeardAttention
from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers
from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.checkpoints.loaded_model import build_loaded_model
from mmseg_tapadl.engine.building import BUILD_ERRORS, config_error
from mmseg_tapadl.inference.names_and_colours import names_and_colours
from mmseg_tapadl.layers.attention_watch import attentions_of
from mmseg_tapadl.models.segmentors.sliding_window import sliding_windows


@dataclass(frozen=True)
class Region:
    """The part of a picture that one pass of the encoder sees, in pixels of the picture as the pipeline gives it."""

    top: int
    left: int
    height: int
    width: int

    def part_of(self, pictures: Tensor) -> Tensor:
        """What it is of pictures (..., rows, columns)."""
        return pictures[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def holds(self, x: float, y: float) -> bool:
        """Whether a pixel lies in it."""
        return self.left <= x < self.left + self.width and self.top <= y < self.top + self.height


@dataclass(frozen=True)
class Passage:
    """One picture's way through a segmentor.

    Attributes:
        sample: What the segmentor predicted and the data set knows; ``None`` where nothing was predicted.
        regions: What each pass of the encoder saw, one for each picture of a pass, in order.
        attentions: How many attentions each pass had.
    """

    sample: Any
    regions: list[Region]
    attentions: list[int]


class AnalysedModel:
    """A config's segmentor with its weights.

    Args:
        config: Any mmseg 1.x config whose encoder computes attention with ``WatchableAttention``.
        checkpoint: Its weights; every parameter must be among them.
        name: What to call it; by default the config's name.
        device: ``'cpu'``, ``'cuda:0'``, ...; ``None`` takes a GPU where there is one.

    Attributes:
        encoder: What is listened to.
        classes: Names of the classes, by id.
        palette: RGB of each class.

    Raises:
        InputError: The checkpoint cannot be read or does not fit, or the encoder offers no attention to watch.
    """

    @plain_readers()
    def __init__(
        self, config: Config, checkpoint: str, *, name: str | None = None, device: str | None = None
    ):
        import mmseg_tapadl.register  # noqa: F401  what the config names

        self.config = config
        self.checkpoint = checkpoint if '://' in checkpoint else os.path.abspath(checkpoint)
        self.name = name or Path(config.filename or 'model').stem
        try:
            self.model, meta = build_loaded_model(config, checkpoint, device=device)
        except BUILD_ERRORS as error:
            raise config_error(config, 'model', error) from error
        self.trained = dataset_meta_of(meta).get('classes')
        check_agreement(config, (), weights=checkpoint, trained=self.trained)
        self.encoder: torch.nn.Module = getattr(self.model, 'backbone', self.model)
        attentions_of(self.encoder, 'so there is none to look at')
        named = names_and_colours(meta, config, self.model.num_classes)
        self.classes, self.palette = named.classes, named.palette

    def prepare(self, packed: dict[str, Any]) -> dict[str, Any]:
        """One picture of the pipeline as the segmentor takes it: normalised, padded, a batch of its own."""
        return self.model.data_preprocessor(pseudo_collate([packed]), False)

    @torch.no_grad()
    def passage(
        self, prepared: dict[str, Any], hear: Callable[[HeardAttention], None], *, predicts: bool = True
    ) -> Passage:
        """Labels one picture exactly as without listening, and hands over each attention that it passes.

        Args:
            prepared: Of :meth:`prepare`.
            hear: Gets each attention, once for each pass of the encoder.
            predicts: Whether the picture is labelled; otherwise it passes the encoder alone, in less time and memory.
        """
        listener = AttentionListener(self.encoder, hear)
        regions = self.regions(prepared)
        sample = None
        with listener.listening():
            if predicts or self.encoder is self.model:
                (sample,) = self.model(**prepared, mode='predict')
            else:
                for region in regions:
                    self.encoder(region.part_of(prepared['inputs']))
        return Passage(sample, regions, listener.passes)

    def regions(self, prepared: dict[str, Any]) -> list[Region]:
        """What the encoder's passes see of a prepared picture: all of it, or window by window."""
        size = tuple(prepared['inputs'].shape[-2:])
        test_cfg = self.model.test_cfg or {}
        if test_cfg.get('mode', 'whole') != 'slide':
            return [Region(0, 0, *size)]
        windows = sliding_windows(size, test_cfg['crop_size'], test_cfg['stride'])
        return [
            Region(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
            for rows, columns in windows
        ]


def region_of_point(regions: list[Region], x: float, y: float) -> int:
    """Number of the region in whose middle a pixel lies most nearly."""

    def distance(number: int) -> tuple[bool, float]:
        region = regions[number]
        middle = region.left + region.width / 2, region.top + region.height / 2
        return not region.holds(x, y), (middle[0] - x) ** 2 + (middle[1] - y) ** 2

    return min(range(len(regions)), key=distance)


def seen_picture(packed: dict[str, Any], region: Region) -> Tensor:
    """The picture (h, w, 3), BGR, as the model sees it in a region."""
    return region.part_of(packed['inputs']).permute(1, 2, 0)
