"""Testing whole pictures by a sliding window, in little memory."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mmseg_tapadl.layers.budget import budget_for
from mmseg_tapadl.utils import InputError

Window = tuple[slice, slice]


class SlidingWindowMixin:
    """Replaces ``slide_inference`` of mmseg's ``EncoderDecoder``: the same logits at less memory and copying.

    mmseg's own pads each window's logits to the whole picture and writes into the caller's metadata; here
    logits are added in place and the windows' metadata are copies. Put it before ``EncoderDecoder`` among
    the bases.
    """

    test_cfg: Any
    out_channels: int

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (B, num_classes, H, W) of pictures (B, 3, H, W), averaged where windows overlap.

        A window larger than the picture is cut to it. ``test_cfg`` says ``crop_size`` and ``stride``, each
        (height, width).

        Args:
            inputs: The pictures, preprocessed.
            batch_img_metas: The metadata of each picture; not written to.
        """
        num_images = len(inputs)
        crop_size, stride = (self.test_cfg.get(name) for name in ('crop_size', 'stride'))
        windows = list(sliding_windows(inputs.shape[2:], crop_size, stride))
        at_once = budget_for(inputs.device).windows
        total = inputs.new_zeros(num_images, self.out_channels, *inputs.shape[2:])
        count = inputs.new_zeros(1, 1, *inputs.shape[2:])
        for start in range(0, len(windows), at_once):
            group = windows[start : start + at_once]
            crops = torch.cat([inputs[:, :, rows, columns] for rows, columns in group])
            metas = [window_meta(meta, crops.shape[2:]) for _ in group for meta in batch_img_metas]
            logits = self.encode_decode(crops, metas)  # type: ignore[attr-defined]
            for (rows, columns), own in zip(group, logits.split(num_images), strict=True):
                total[:, :, rows, columns] += own
                count[:, :, rows, columns] += 1
        return total.div_(count)


def sliding_windows(
    size: tuple[int, int] | torch.Size, crop_size: tuple[int, int], stride: tuple[int, int]
) -> Iterator[Window]:
    """The windows that cover a picture, row by row; the last of a row or column is moved back to end with it.

    Args:
        size: Height and width of the picture.
        crop_size: Height and width of a window; cut to the picture where larger.
        stride: Steps down and to the right, each at most the window's size.

    Raises:
        InputError: Sizes that are no pairs; a stride below 1, or above the window's size, which would leave gaps.
    """
    for name, pair in (('crop_size', crop_size), ('stride', stride)):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(f'test_cfg: {name}={pair!r}: it must be (height, width)')
    if not all(0 < step <= crop for step, crop in zip(stride, crop_size, strict=True)):
        raise InputError(
            f'test_cfg: stride={tuple(stride)}: each must be from 1 to crop_size={tuple(crop_size)}'
        )
    rows, columns = (list(axis_windows(*axis)) for axis in zip(size, crop_size, stride, strict=True))
    for row in rows:
        for column in columns:
            yield row, column


def axis_windows(length: int, crop: int, stride: int) -> Iterator[slice]:
    """The windows along one axis."""
    crop = min(crop, length)
    for start in range(0, length - crop + stride, stride):
        start = min(start, length - crop)
        yield slice(start, start + crop)


def window_meta(meta: Mapping[str, Any], size: torch.Size) -> dict[str, Any]:
    """A picture's metadata for a window; mmseg's heads resize their logits to ``img_shape``."""
    return {**meta, 'img_shape': size}
