"""Reading pictures."""

from pathlib import Path

import mmcv
import numpy as np

from mmseg_tapadl.utils import InputError, shown


def load_picture(path: str | Path) -> np.ndarray:
    """A picture from a file, BGR (H, W, 3), uint8.

    Raises:
        InputError: It cannot be decoded.
    """
    try:
        picture = mmcv.imread(path, flag='color')
    except Exception as error:  # decoders raise many kinds
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'{shown(path)}: not a readable picture ({shown(reason)})') from error
    if picture is None:
        raise InputError(f'{shown(path)}: not a readable picture')
    return picture
