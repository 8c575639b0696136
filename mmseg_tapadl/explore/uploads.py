"""Pictures that a browser sends: decoded in memory, bounded, and nothing but JPEG and PNG."""

import io
import warnings

import mmcv
import numpy as np
from PIL import Image

from mmseg_tapadl.utils import InputError, shown

MOST_BYTES = 20 * 2**20
MOST_PIXELS = 2**23
"""Four times a picture of Cityscapes."""
FORMATS = ('JPEG', 'PNG')


def decode_upload(name: str, content: bytes) -> np.ndarray:
    """A picture (H, W, 3), BGR, uint8, from the bytes of a JPEG or PNG; their content counts, not the name.

    Raises:
        InputError: Other bytes, a damaged picture, more than ``MOST_BYTES`` or more than ``MOST_PIXELS``; it is named.
    """
    name = shown(name)
    if len(content) > MOST_BYTES:
        raise InputError(
            f'{name}: {len(content) / 2**20:.1f} MiB are more than the {MOST_BYTES // 2**20} MiB that an upload may have'
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # the bound below is lower
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise InputError(
            f'{name}: more than {MOST_PIXELS / 1e6:.1f} million pixels; give a smaller one'
        ) from error
    except Exception as error:  # decoders raise many kinds
        raise InputError(f'{name}: is no picture; give a JPEG or a PNG') from error
    width, height = image.size
    # Before anything is decoded: a small file may hold a picture that fills the memory.
    if width * height > MOST_PIXELS:
        raise InputError(
            f'{name}: {width} x {height} pixels are more than {MOST_PIXELS / 1e6:.1f} million; give a smaller one'
        )
    try:
        image.load()  # complains of a file that ends too early, which the next decoder may not
        picture = mmcv.imfrombytes(content, flag='color')
    except Exception as error:
        raise InputError(f'{name}: a damaged {image.format} ({shown(str(error))})') from error
    if picture is None:
        raise InputError(f'{name}: a damaged {image.format}')
    return picture
