"""Whether loading turns pictures as the EXIF tag in their heads says."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112


class Turning:
    """Whether a loader turns files as their EXIF orientation says: it is asked with small ones.

    Versions of libraries differ in it, and so do formats and options.

    Args:
        load: Gives the pixels of a file.
    """

    def __init__(self, load: Callable[[str], np.ndarray]) -> None:
        self._load = load
        self._known: dict[tuple[str, int], bool | None] = {}

    def of(self, file_format: str, orientation: int) -> bool | None:
        """The answer for a format (as Pillow calls it) and an orientation (2 to 8); None where it cannot be had."""
        key = (file_format, orientation)
        if key not in self._known:
            try:
                self._known[key] = self._ask(*key)
            except Exception:  # Pillow may not write the format, the loader not take the picture
                self._known[key] = None
        return self._known[key]

    def _ask(self, file_format: str, orientation: int) -> bool:
        written = {'MPO': 'JPEG'}.get(file_format, file_format)
        pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)
        answers = []
        with tempfile.TemporaryDirectory() as folder:
            for value in (1, orientation):
                path = Path(folder) / f'{value}.{written.lower()}'
                exif = Image.Exif()
                exif[_ORIENTATION] = value
                options = (
                    {'tiffinfo': {_ORIENTATION: value}} if written == 'TIFF' else {'exif': exif.tobytes()}
                )
                Image.fromarray(pixels).save(path, format=written, **options)
                answers.append(self._load(str(path)))
        return not np.array_equal(answers[0], answers[1])
