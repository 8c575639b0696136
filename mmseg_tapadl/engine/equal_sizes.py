"""Batches of pictures of different sizes in validation and test: parts of one size go through the model in turn."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import torch
from mmengine.runner import TestLoop, ValLoop
from mmseg.registry import LOOPS


def parts_of_one_size(batch: Any) -> Iterator[tuple[list[int], Any]]:
    """Splits a batch where the size changes; mmseg tests only pictures of one size together.

    The order is kept, because metrics may rely on it.

    Args:
        batch: What the loader gives: a dict with ``inputs``, a list of (3, H, W) or, under test time augmentation, a list
            of such lists, one for each variant; or a tensor (B, 3, H, W), which has one size already.

    Yields:
        The places of a part's pictures in the batch, and the part. A batch of one size is yielded as it is.
    """
    inputs = batch.get('inputs') if isinstance(batch, dict) else None
    if not isinstance(inputs, (list, tuple)) or not inputs:
        yield list(range(len(inputs) if inputs is not None else 0)), batch
        return
    has_variants = not isinstance(inputs[0], torch.Tensor)
    variants = inputs if has_variants else [inputs]
    sizes = [tuple(picture.shape for picture in pictures) for pictures in zip(*variants, strict=True)]
    runs = [list(run) for _, run in groupby(range(len(sizes)), key=sizes.__getitem__)]
    if len(runs) == 1:
        yield runs[0], batch
        return
    for places in runs:
        yield places, {key: _taken(value, places, has_variants) for key, value in batch.items()}


def _taken(values: list, places: list[int], has_variants: bool) -> list:
    if has_variants:
        return [[variant[place] for place in places] for variant in values]
    return [values[place] for place in places]


@LOOPS.register_module()
class EqualSizeValLoop(ValLoop):
    """mmengine's ``ValLoop``, which also takes batches of pictures of different sizes."""

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Validates a batch, part by part."""
        for _, part in parts_of_one_size(data_batch):
            super().run_iter(idx, part)


@LOOPS.register_module()
class EqualSizeTestLoop(TestLoop):
    """mmengine's ``TestLoop``, which also takes batches of pictures of different sizes."""

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Tests a batch, part by part."""
        for _, part in parts_of_one_size(data_batch):
            super().run_iter(idx, part)


def with_any_sizes(loop: Any) -> Any:
    """A loop's config with the loop of this module in place of mmengine's own; other loops are left alone."""
    if not isinstance(loop, dict):
        return loop
    kind = loop.get('type')
    cls = LOOPS.get(kind) if isinstance(kind, str) else kind
    for plain, ours in ((ValLoop, EqualSizeValLoop), (TestLoop, EqualSizeTestLoop)):
        if cls is plain:
            return {**loop, 'type': ours}
    return loop
