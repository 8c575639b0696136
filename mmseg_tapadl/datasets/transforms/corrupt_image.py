"""The corruptions as a transform for any mmseg pipeline."""

import time
from typing import ClassVar

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_tapadl.datasets.corruptions import CHANNEL_ORDERS, check_cell, corrupt_picture, picture_identity
from mmseg_tapadl.utils import InputError


@TRANSFORMS.register_module()
class CorruptImage(BaseTransform):
    """Corrupts the loaded picture; put it right after the transform that loads the picture.

    Only ``img`` is changed: geometry and labels stay. The pixels depend on the picture's identity (its
    path below the data root), the corruption, the severity and the seed, and on nothing else: neither on
    the order, nor on the worker, nor on the process.

    Example::

        test_pipeline = [
            dict(type='LoadImageFromFile'),
            dict(type='CorruptImage', corruption='fog', severity=3),
            dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ]

    Args:
        corruption: One of :data:`~mmseg_tapadl.datasets.corruptions.CORRUPTIONS`.
        severity: 1 (mild) to 5 (severe).
        channel_order: ``'bgr'`` hands the library the array as mmcv loads it, as published numbers were
            made; ``'rgb'`` hands it over in the order that the library means.
        seed: Another seed gives another draw of the random corruptions.
        data_root: The data set's root. Cityscapes and ACDC trees need none: their pictures are named from
            the folder ``leftImg8bit`` or ``rgb_anon`` on. Give it for other trees, or the whole path of a
            picture counts, and moving the data changes the random corruptions.

    Attributes:
        seconds: What all corruptions of this process have taken.

    Raises:
        InputError: For an unknown corruption, severity or channel order; the message lists the valid ones.
    """

    seconds: ClassVar[float] = 0.0

    def __init__(
        self,
        corruption: str,
        severity: int,
        channel_order: str = 'bgr',
        seed: int = 0,
        data_root: str | None = None,
    ) -> None:
        check_cell(corruption, severity)
        if channel_order not in CHANNEL_ORDERS:
            raise InputError(
                f'channel_order must be one of {", ".join(CHANNEL_ORDERS)}, not {channel_order!r}'
            )
        self.corruption = corruption
        self.severity = severity
        self.channel_order = channel_order
        self.seed = seed
        self.data_root = data_root

    def transform(self, results: dict) -> dict:
        """Replaces ``results['img']``, (H, W, 3) BGR; a float picture (``to_float32``) stays float.

        Args:
            results: Needs ``img`` and ``img_path``.

        Returns:
            ``results``.

        Raises:
            InputError: Where the picture has no path, or is not one of three channels and whole values.
        """
        if 'img_path' not in results:
            raise InputError(
                "CorruptImage needs 'img_path': a picture's path is what its randomness is made from"
            )
        image = results['img']
        whole = image
        if image.dtype != np.uint8:
            whole = np.clip(image, 0, 255).astype(np.uint8)
            if not np.array_equal(whole, image):
                raise InputError(
                    f'CorruptImage must come right after loading: {results["img_path"]} no longer has '
                    'whole values from 0 to 255'
                )
        start = time.perf_counter()
        corrupted = corrupt_picture(
            whole,
            identity=picture_identity(results['img_path'], self.data_root),
            corruption=self.corruption,
            severity=self.severity,
            seed=self.seed,
            channel_order=self.channel_order,
        )
        CorruptImage.seconds += time.perf_counter() - start
        results['img'] = corrupted.astype(image.dtype, copy=False)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(corruption={self.corruption!r}, severity={self.severity}, '
            f'channel_order={self.channel_order!r}, seed={self.seed}, data_root={self.data_root!r})'
        )
