"""The 19 common corruptions as a pure function of (picture, identity, corruption, severity, seed).

The library ``imagecorruptions-imaug`` draws from three generators: NumPy's global one, a scikit-image
generator made from the ``seed`` argument of ``impulse_noise``, and numba's own, which ``glass_blur``
seeds from its ``seed`` argument. Left alone, the pixels depend on how many pictures the process has seen.
Here every call gets a seed made from what the result may depend on, and NumPy's global state is put back
afterwards, so that neither order, nor worker, nor process, nor a restart changes a pixel.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import cv2
import numpy as np

from mmseg_tapadl.utils import InputError

CORRUPTION_GROUPS: dict[str, tuple[str, ...]] = {
    'blur': ('motion_blur', 'defocus_blur', 'glass_blur', 'gaussian_blur', 'zoom_blur'),
    'noise': ('gaussian_noise', 'impulse_noise', 'shot_noise', 'speckle_noise'),
    'digital': ('brightness', 'contrast', 'saturate', 'jpeg_compression', 'elastic_transform', 'pixelate'),
    'weather': ('snow', 'spatter', 'fog', 'frost'),
}
CORRUPTIONS: tuple[str, ...] = tuple(name for group in CORRUPTION_GROUPS.values() for name in group)
SEVERITIES: tuple[int, ...] = (1, 2, 3, 4, 5)
CHANNEL_ORDERS: tuple[str, ...] = ('bgr', 'rgb')

# These two take their seed as an argument and ignore NumPy's; the other 17 refuse the argument.
_SEED_BY_ARGUMENT = frozenset({'impulse_noise', 'glass_blur'})
# The library refuses pictures with a shorter side.
_SMALLEST_SIDE = 32
# The folders that hold the pictures of Cityscapes and of ACDC, in whatever root they lie.
_PICTURE_FOLDERS = frozenset({'leftImg8bit', 'rgb_anon'})


def check_cell(corruption: str, severity: int) -> None:
    """Raises ``InputError`` that lists the valid ones when the corruption or the severity is not one of them."""
    if corruption not in CORRUPTIONS:
        raise InputError(f'unknown corruption {corruption!r}; the valid ones are {", ".join(CORRUPTIONS)}')
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise InputError(
            f'unknown severity {severity!r}; the valid ones are {", ".join(map(str, SEVERITIES))}'
        )


def picture_identity(img_path: str | os.PathLike, data_root: str | os.PathLike | None = None) -> str:
    """What names a picture wherever its data set lies: its path below the data root, with forward slashes.

    1. In a Cityscapes or an ACDC tree it starts at the folder ``leftImg8bit`` or ``rgb_anon`` (the last
       one in the path), so that every layout of the same data gives the same identity.
    2. Else it is the path below ``data_root``.
    3. Without a root, or for a picture outside it, it is the path as given.

    Args:
        img_path: Where the picture is.
        data_root: The data set's root.

    Returns:
        The identity, for instance ``'leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png'``.
    """
    path = PurePosixPath(os.path.normpath(img_path).replace(os.sep, '/'))
    for position in range(len(path.parts) - 2, -1, -1):
        if path.parts[position] in _PICTURE_FOLDERS:
            return '/'.join(path.parts[position:])
    if data_root is not None:
        root = PurePosixPath(os.path.normpath(data_root).replace(os.sep, '/'))
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return str(path)


def corruption_seed(identity: str, corruption: str, severity: int, seed: int) -> int:
    """The 32-bit seed of one corrupted picture: SHA-256 of all that its randomness may depend on."""
    key = '\n'.join((identity, corruption, str(int(severity)), str(int(seed))))
    return int.from_bytes(hashlib.sha256(key.encode('utf-8', 'surrogateescape')).digest()[:4], 'little')


@contextmanager
def numpy_seeded(seed: int) -> Iterator[None]:
    """Seeds NumPy's global generator for the body and puts its former state back afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def corrupt_picture(
    image: np.ndarray,
    *,
    identity: str,
    corruption: str,
    severity: int,
    seed: int = 0,
    channel_order: str = 'bgr',
) -> np.ndarray:
    """Corrupts one picture, the same way each time.

    A side shorter than 32 px, which the library refuses, is continued by mirroring, and the result cut
    back. Where ``spatter`` lets not one drop fall (it happens on tiny pictures; the library then divides
    by zero and returns black), the picture stays as it is.

    Args:
        image: (H, W, 3), uint8, channels in BGR order; not changed.
        identity: Names the picture, see :func:`picture_identity`.
        corruption: One of :data:`CORRUPTIONS`.
        severity: 1 to 5.
        seed: Another seed gives another draw of the random corruptions.
        channel_order: ``'bgr'`` hands the array to the library as it is (how published numbers were made),
            ``'rgb'`` hands it over in the order that the library means and turns the result back.

    Returns:
        A new (H, W, 3) uint8 array, channels in BGR order.

    Raises:
        InputError: For an unknown corruption, severity or channel order, or an array of another kind.
    """
    check_cell(corruption, severity)
    if channel_order not in CHANNEL_ORDERS:
        raise InputError(f'channel_order must be one of {", ".join(CHANNEL_ORDERS)}, not {channel_order!r}')
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f'corruptions need a uint8 picture of shape (H, W, 3), got {image.dtype} of {image.shape} for {identity}'
        )
    height, width = image.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        below, right = max(0, _SMALLEST_SIDE - height), max(0, _SMALLEST_SIDE - width)
        image = np.pad(image, ((0, below), (0, right), (0, 0)), mode='symmetric')
    if channel_order == 'rgb':
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    corrupted = _call_library(
        image, corruption, severity, corruption_seed(identity, corruption, severity, seed)
    )
    if channel_order == 'rgb':
        corrupted = cv2.cvtColor(corrupted, cv2.COLOR_RGB2BGR)
    if corrupted.shape[:2] != (height, width):
        corrupted = np.ascontiguousarray(corrupted[:height, :width])
    # The library's JPEG is a view that must not be written to, which a tensor made of it would not know.
    return corrupted if corrupted.flags.writeable else corrupted.copy()


def _call_library(image: np.ndarray, corruption: str, severity: int, seed: int) -> np.ndarray:
    from imagecorruptions import corrupt

    arguments = {'seed': seed} if corruption in _SEED_BY_ARGUMENT else {}
    with numpy_seeded(seed):
        if corruption != 'spatter':
            return corrupt(image, severity=int(severity), corruption_name=corruption, **arguments)
        try:
            with np.errstate(invalid='raise'):
                return corrupt(image, severity=int(severity), corruption_name=corruption)
        except FloatingPointError:
            return image.copy()


def warm_up(corruptions: tuple[str, ...] = CORRUPTIONS) -> None:
    """Imports the library and compiles ``glass_blur`` (about 2 s), so that forked workers need not each do so."""
    tiny = np.zeros((_SMALLEST_SIDE, _SMALLEST_SIDE, 3), dtype=np.uint8)
    name = 'glass_blur' if 'glass_blur' in corruptions else 'contrast'
    corrupt_picture(tiny, identity='', corruption=name, severity=1)
