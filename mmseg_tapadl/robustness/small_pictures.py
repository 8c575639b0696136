"""Small copies of some pictures of a cell, made while it is measured: what the pages show.

Kept are the pictures of a sample, the same for every model, and the worst of each condition. Their number and size are
bounded, so memory and disk do not grow with the data set.
"""

import heapq
import io
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from mmengine.dist import all_gather_object
from PIL import Image
from torch import Tensor

from mmseg_tapadl.evaluation.class_counts import NO_CLASS
from mmseg_tapadl.evaluation.seen_pictures import as_bgr

# Of each condition, by the rule of :func:`badness`.
WORST = 12
# The pictures of Cityscapes val (500) and ACDC val (406) are all kept.
MOST = 512
_LONGEST_SIDE = 256


@dataclass(frozen=True)
class SmallPicture:
    """One picture of a cell.

    Attributes:
        index: Its number in the data set.
        name: What names it wherever the data set lies.
        condition: Its condition, as fog or night in ACDC; empty where there are none.
        labelled: Pixels that count, of the whole picture.
        wrong: Those of them that are wrong.
        picture: As the model saw it, WebP.
        prediction: Class ids, one channel, PNG; what is no class has the number of the classes.
        label: The same, also of pixels that do not count.
    """

    index: int
    name: str
    condition: str
    labelled: int
    wrong: int
    picture: bytes
    prediction: bytes
    label: bytes


def badness(picture: SmallPicture) -> tuple[int, int]:
    """The greater, the worse: wrong labelled pixels; of equals the one that comes first in the data set."""
    return picture.wrong, -picture.index


def worst_of(pictures: Iterable[SmallPicture]) -> list[SmallPicture]:
    """The worst of some pictures of one condition, the worst first."""
    return heapq.nlargest(WORST, pictures, key=badness)


def sample_of(count: int) -> frozenset[int]:
    """The numbers of the pictures that are kept of every data set of ``count`` pictures: all, or spread evenly."""
    return frozenset(np.linspace(0, count - 1, min(count, MOST)).round().astype(int).tolist())


class SmallPictures:
    """Collects the small copies of a cell.

    Args:
        sample: Numbers of the pictures that are kept in any case.
    """

    def __init__(self, sample: frozenset[int]) -> None:
        self.sample = sample
        self._sampled: list[SmallPicture] = []
        self._worst: dict[str, list[tuple[tuple[int, int], SmallPicture]]] = {}

    def add(
        self,
        index: int,
        *,
        name: str,
        condition: str,
        labelled_pixels: int,
        wrong_pixels: int,
        picture: Tensor,
        predicted: Tensor,
        labelled: Tensor,
        num_classes: int,
        ignore_index: int,
    ) -> None:
        """Looks at a picture and keeps a small copy where it is in the sample or among the worst.

        Args:
            index: Its number in the data set.
            name: What names it.
            condition: Its condition.
            labelled_pixels: Pixels that count.
            wrong_pixels: Those of them that are wrong.
            picture: (3, h, w) BGR, as the loader gives it.
            predicted: (H, W), class ids or ``NO_CLASS``.
            labelled: (H, W), class ids or ``ignore_index``.
            num_classes: C.
            ignore_index: Label value whose pixels do not count.
        """
        worst = self._worst.setdefault(condition, [])
        rank = (wrong_pixels, -index)
        is_worst = wrong_pixels > 0 and (len(worst) < WORST or rank > worst[0][0])
        if not (is_worst or index in self.sample):
            return
        height, width = labelled.shape
        scale = min(1.0, _LONGEST_SIDE / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        label = torch.where(labelled == ignore_index, num_classes, labelled.long())
        predicted = torch.where(predicted == NO_CLASS, num_classes, predicted.long())
        small = SmallPicture(
            index=index,
            name=name,
            condition=condition,
            labelled=labelled_pixels,
            wrong=wrong_pixels,
            picture=_webp(picture, size),
            prediction=_png(_nearest(predicted, size), num_classes),
            label=_png(_nearest(label, size), num_classes),
        )
        if index in self.sample:
            self._sampled.append(small)
        if is_worst:
            (heapq.heappush if len(worst) < WORST else heapq.heappushpop)(worst, (rank, small))

    def gather(self) -> list[SmallPicture]:
        """Those of all processes, in the order of the data set; the same however many processes there are."""
        mine = self._sampled + [small for worst in self._worst.values() for _, small in worst]
        found = {small.index: small for part in all_gather_object(mine) for small in part}
        kept = {index for index in found if index in self.sample}
        for condition in {small.condition for small in found.values()}:
            bad = [small for small in found.values() if small.condition == condition and small.wrong]
            kept |= {small.index for small in worst_of(bad)}
        return [found[index] for index in sorted(kept)]


def _nearest(ids: Tensor, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        torch.from_numpy(((np.arange(small) + 0.5) * whole / small).astype(np.int64)).to(ids.device)
        for small, whole in zip(size, ids.shape, strict=True)
    )
    return ids[rows][:, columns].cpu().numpy()


def _png(ids: np.ndarray, num_classes: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(ids.astype(np.uint8 if num_classes <= 255 else np.uint16)).save(buffer, 'PNG')
    return buffer.getvalue()


def _webp(picture: Tensor, size: tuple[int, int]) -> bytes:
    pixels = as_bgr(picture.permute(1, 2, 0).cpu().numpy())
    small = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(small[:, :, ::-1])).save(buffer, 'WEBP', quality=70, method=2)
    return buffer.getvalue()
