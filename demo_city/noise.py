"""Random textures, all from an explicit generator."""

import cv2
import numpy as np


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, *, cells: int, octaves: int = 4, stretch: float = 1.0
) -> np.ndarray:
    """Smooth noise summed over octaves.

    Args:
        rng: Where the randomness comes from.
        height: Rows.
        width: Columns.
        cells: Blobs across the width in the coarsest octave.
        octaves: Each has twice the cells and half the strength of the one before.
        stretch: Above 1, blobs are wider than high.

    Returns:
        (height, width) float32 in [0, 1], stretched to that range.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = max(2, cells << octave)
        rows = max(2, round(columns * stretch * height / width))
        grid = rng.random((rows, columns), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / (1 << octave)
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def ground_noise(rng: np.random.Generator, x: np.ndarray, z: np.ndarray, *, metres: float) -> np.ndarray:
    """Noise that lies on the ground: it shrinks with distance as the road does.

    Args:
        rng: Where the randomness comes from.
        x: World X of every pixel, any shape, float32.
        z: World Z of every pixel.
        metres: Size of the coarsest blobs.

    Returns:
        Float32 in [0, 1] of the same shape.
    """
    tile = fractal_noise(rng, 256, 256, cells=8, octaves=4)
    scale = 32 / metres
    # Back and forth over the tile: no seam where it repeats.
    return cv2.remap(tile, _to_and_fro(x * scale, 255), _to_and_fro(z * scale, 255), cv2.INTER_LINEAR)


def white_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Independent normal numbers, float32: what a sensor adds."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)


def _to_and_fro(values: np.ndarray, length: float) -> np.ndarray:
    return (length - np.abs(np.mod(values, 2 * length) - length)).astype(np.float32)
