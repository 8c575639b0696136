"""Loading pictures of more than 8 bits a channel, scaled to the range that models are trained on."""

import cv2
import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.registry import TRANSFORMS

from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.arguments import lists_valid_arguments


@TRANSFORMS.register_module()
@lists_valid_arguments
class LoadDeepImageFromFile(LoadImageFromFile):
    """Loads pictures of 10 to 16 bits or of float values, and scales ``min_value..max_value`` to 0..255.

    ``LoadImageFromFile`` keeps the upper 8 of 16 bits: of a camera that gives 12 bits, values from 0 to 15 are left.

    Args:
        max_value: The stored value that becomes 255: 4095 for 12 bits, 65535 for 16, 1.0 for most float pictures.
            What lies above becomes 255 too.
        min_value: The stored value that becomes 0.
        to_float32: Keep fractions, as float32; else the values are rounded to whole ones, as uint8.
        ignore_empty: As in ``LoadImageFromFile``.
        backend_args: As in ``LoadImageFromFile``.

    Pictures of 8 bits in the same set are loaded as they are. Grey ones get three equal channels, alpha is dropped.

    Raises:
        InputError: When ``max_value`` is not above ``min_value``.
    """

    def __init__(
        self,
        max_value: float,
        min_value: float = 0,
        to_float32: bool = False,
        ignore_empty: bool = False,
        *,
        backend_args: dict | None = None,
    ) -> None:
        if not max_value > min_value:
            raise InputError(f'max_value={max_value} must be above min_value={min_value}')
        super().__init__(to_float32=to_float32, ignore_empty=ignore_empty, backend_args=backend_args)
        self.max_value, self.min_value = max_value, min_value

    def transform(self, results: dict) -> dict | None:
        """Adds ``img`` (H, W, 3) BGR, ``img_shape`` and ``ori_shape``.

        Raises:
            InputError: When OpenCV cannot decode the file; the message names it.
        """
        try:
            stored = decode_deep(fileio.get(results['img_path'], backend_args=self.backend_args))
            if stored is None:
                raise InputError(f'{results["img_path"]}: OpenCV cannot decode it')
        except Exception:
            if self.ignore_empty:
                return None
            raise
        image = self.scaled(stored)
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def scaled(self, stored: np.ndarray) -> np.ndarray:
        """A decoded picture of any depth as values from 0 to 255, of the same shape."""
        if stored.dtype == np.uint8:
            return stored.astype(np.float32) if self.to_float32 else stored
        values = (stored.astype(np.float32) - self.min_value) * (255 / (self.max_value - self.min_value))
        # A float picture may hold NaN where nothing was measured: black.
        values = np.clip(np.nan_to_num(values, nan=0.0), 0, 255)
        return values if self.to_float32 else np.rint(values).astype(np.uint8)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(max_value={self.max_value}, min_value={self.min_value}, '
            f'to_float32={self.to_float32}, ignore_empty={self.ignore_empty}, backend_args={self.backend_args})'
        )


def decode_deep(data: bytes) -> np.ndarray | None:
    """Decodes a file in its own depth.

    Args:
        data: The file's bytes.

    Returns:
        (H, W, 3) BGR in the stored type (uint8, uint16, float32, ...), turned upright where OpenCV does so, or None
        when OpenCV cannot decode it.

    Raises:
        cv2.error: When the picture is larger than OpenCV takes.
    """
    image = mmcv.imfrombytes(data, flag=cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, backend='cv2')
    if image is None:
        # OpenCV takes grey float pictures only as they are.
        image = mmcv.imfrombytes(data, flag='unchanged', backend='cv2')
    if image is None:
        return None
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return image[..., :3]
