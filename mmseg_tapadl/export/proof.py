"""Whether an ONNX file is the model it was made from: both label the same pictures."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from mmseg_tapadl.inference.adapters.onnx_file import open_session
from mmseg_tapadl.inference.onnx_description import OnnxDescription
from mmseg_tapadl.utils import InputError, shown

# Sums in another order move float32 logits by some 1e-6 of the largest; where two classes are equally likely, a pixel
# may then change.
LARGEST_DIFFERENCE = 1e-3
SMALLEST_AGREEMENT = 0.999
HINT = '. Try it without --dynamic: a file for each size'


@dataclass(frozen=True)
class Proof:
    """What the comparison found.

    Attributes:
        sizes: Of the pictures compared, ``HxW``.
        largest_difference: Of a logit, absolute.
        largest_logit: Of PyTorch, absolute.
        agreement: Share of the pixels with the same class, 0 to 1.
        seconds_torch: A picture, in PyTorch, mean.
        seconds_onnx: A picture, in onnxruntime, mean.
        threads: Of both.
    """

    sizes: list[str]
    largest_difference: float
    largest_logit: float
    agreement: float
    seconds_torch: float
    seconds_onnx: float
    threads: int

    def text(self) -> str:
        """For the screen."""
        return (
            f'compared on {len(self.sizes)} pictures ({", ".join(dict.fromkeys(self.sizes))}): largest difference of a logit '
            f'{self.largest_difference:.2g} (largest logit {self.largest_logit:.3g}), {100 * self.agreement:.4f} % of the '
            f'pixels agree; a picture takes {self.seconds_torch:.3f} s in PyTorch, {self.seconds_onnx:.3f} s in onnxruntime '
            f'({self.threads} threads)'
        )


def prove(
    model: torch.nn.Module, file: Path, pictures: Sequence[np.ndarray], described: OnnxDescription
) -> Proof:
    """Runs both on the pictures; a file for any size also on the pictures cut to other sizes, and on two at once.

    Args:
        model: Takes float32 RGB (B, 3, H, W) of 0 to 255, gives logits (B, C, H, W).
        file: The ONNX file.
        pictures: (H, W, 3), uint8, RGB.
        described: How the file takes pictures.
    """
    session = open_session(file, device='cpu')
    batches = [_batch([picture], described.size) for picture in pictures]
    if described.size is None:
        batches += [_batch([_cut(pictures[0])] * 2, None), _batch([_cut(_cut(pictures[-1]))], None)]
    difference = largest = spent_torch = spent_onnx = 0.0
    agreed = pixels = count = 0
    for batch in batches:
        start = time.perf_counter()
        with torch.no_grad():
            expected = model(torch.from_numpy(batch)).numpy()
        middle = time.perf_counter()
        try:
            found = session.run(['logits'], {'picture': batch})[0]
        except Exception as error:  # kinds of its own
            reason = ' '.join(str(error).split())[:300]
            raise InputError(
                f'onnxruntime cannot run the exported file on {batch.shape[2]}x{batch.shape[3]}, so it was not written: '
                f'{shown(reason)}{"" if described.size else HINT}'
            ) from error
        spent_torch, spent_onnx = spent_torch + middle - start, spent_onnx + time.perf_counter() - middle
        if found.shape != expected.shape:
            raise InputError(f'the exported file gives {found.shape} where PyTorch gives {expected.shape}')
        difference = max(difference, float(np.nan_to_num(np.abs(found - expected), nan=np.inf).max()))
        largest = max(largest, float(np.abs(expected).max()))
        agreed += int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
        pixels += expected[:, 0].size
        count += len(batch)
    return Proof(
        sizes=['{}x{}'.format(*batch.shape[2:]) for batch in batches],
        largest_difference=difference,
        largest_logit=largest,
        agreement=agreed / pixels,
        seconds_torch=round(spent_torch / count, 6),
        seconds_onnx=round(spent_onnx / count, 6),
        threads=torch.get_num_threads(),
    )


def check_proof(proof: Proof, out: Path, *, dynamic: bool) -> None:
    """Raises :class:`InputError` where the two do not agree."""
    if proof.agreement >= SMALLEST_AGREEMENT and proof.largest_difference <= LARGEST_DIFFERENCE * max(
        proof.largest_logit, 1.0
    ):
        return
    raise InputError(
        f'{shown(out)}: the exported file does not agree with PyTorch, so it was not written: {proof.text()}'
        f'{HINT if dynamic else ""}'
    )


def _batch(pictures: Sequence[np.ndarray], size: tuple[int, int] | None) -> np.ndarray:
    if size is not None:
        pictures = [
            picture
            if picture.shape[:2] == size
            else cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR)
            for picture in pictures
        ]
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32))


def _cut(picture: np.ndarray) -> np.ndarray:
    """About two thirds of a picture, to sides that no stride divides; its own where it is tiny."""
    height, width = (max(side * 2 // 3 | 1, min(side, 33)) for side in picture.shape[:2])
    return picture[:height, :width]
