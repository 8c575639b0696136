"""Videos: their frames one after the other, and a video written whole or not at all."""

import math
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from mmengine.logging import print_log

from mmseg_tapadl.inference.pictures import load_picture
from mmseg_tapadl.utils import InputError, shown

VIDEO_SUFFIXES = ('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.wmv', '.ogv', '.flv')
# Where a container tells no rate.
USUAL_RATE = 25.0
SLIDES_RATE = 10.0
_TEXT = b'mmseg_tapadl result: video'
# The last box of a result: players pass over a box of free space.
_MARK = struct.pack('>I', 8 + len(_TEXT)) + b'free' + _TEXT


def is_video(path: str | os.PathLike) -> bool:
    """Whether a file's name is that of a video."""
    return os.fspath(path).lower().endswith(VIDEO_SUFFIXES)


class Video:
    """A video to read, by OpenCV.

    Args:
        path: The file.

    Attributes:
        rate: Frames a second.
        num_frames: As the container tells; 0 where it does not.

    Raises:
        InputError: It cannot be opened, or its first frame cannot be decoded.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f'{shown(path)}: no such video')
        capture = cv2.VideoCapture(os.fspath(path))
        readable = capture.isOpened() and capture.read()[0]
        rate, count = (capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if not readable:
            raise InputError(f'{shown(path)}: not a video that OpenCV can decode')
        self.rate = rate if math.isfinite(rate) and rate > 0 else USUAL_RATE
        self.num_frames = int(count) if math.isfinite(count) and count > 0 else 0

    def frames(self) -> Iterator[np.ndarray]:
        """Its frames in order, BGR (H, W, 3), uint8; what is missing at the end of a cut-off video is told."""
        capture = cv2.VideoCapture(os.fspath(self.path))
        count = 0
        try:
            while True:
                found, frame = capture.read()
                if not found:
                    break
                count += 1
                yield frame
        finally:
            capture.release()
        if count < self.num_frames:
            print_log(f'{shown(self.path)}: {count} of the {self.num_frames} frames it speaks of can be read')


class Slides:
    """Pictures as the frames of a video, in their order.

    Args:
        path: The name of the video that they make, ending in ``.mp4``.
        pictures: Their files.
        rate: Frames a second.
    """

    def __init__(
        self, path: str | os.PathLike, pictures: Sequence[Path], *, rate: float = SLIDES_RATE
    ) -> None:
        self.path = Path(path)
        self.pictures = list(pictures)
        self.rate = rate
        self.num_frames = len(self.pictures)

    def frames(self) -> Iterator[np.ndarray]:
        """The pictures, BGR (H, W, 3), uint8.

        Raises:
            InputError: One that cannot be decoded, or has another size than the first.
        """
        size = None
        for path in self.pictures:
            picture = load_picture(path)
            size = size or picture.shape
            if picture.shape != size:
                raise InputError(
                    f'{shown(path)}: {picture.shape[1]} x {picture.shape[0]} pixels, where the first picture has '
                    f'{size[1]} x {size[0]}: a video needs one size'
                )
            yield picture


class VideoFile:
    """A video to write (MP4), under its name only when it is whole; a context manager.

    Args:
        path: The file, with the suffix ``.mp4``. A video of an earlier prediction is replaced.
        rate: Frames a second.

    Raises:
        InputError: Another file stands there, or OpenCV cannot write it.
    """

    def __init__(self, path: str | os.PathLike, *, rate: float) -> None:
        self.path = Path(path)
        self.rate = rate
        self._partial = self.path.with_name(f'.partial-{self.path.name}')
        self._writer: cv2.VideoWriter | None = None
        self._size: tuple[int, int] | None = None
        refuse_foreign_video(self.path)

    def __enter__(self) -> 'VideoFile':
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame, BGR (H, W, 3), uint8. An odd side loses its last pixel.

        Raises:
            InputError: A frame of another size than the first, or no way to write.
        """
        # Players want even sides.
        frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
        size = (frame.shape[1], frame.shape[0])
        if self._writer is None:
            self._size = size
            fourcc = cv2.VideoWriter.fourcc(*'mp4v')
            self._writer = cv2.VideoWriter(os.fspath(self._partial), fourcc, self.rate, size)
            if not self._writer.isOpened():
                raise InputError(
                    f'{shown(self.path)}: OpenCV cannot write a video of {size[0]} x {size[1]} pixels here'
                )
        if size != self._size:
            raise InputError(
                f'{shown(self.path)}: {size[0]} x {size[1]} pixels, where the video began with '
                '{} x {}'.format(*(self._size or ()))
            )
        self._writer.write(np.ascontiguousarray(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()
        if kind is not None or self._writer is None:
            self._partial.unlink(missing_ok=True)
            return
        with open(self._partial, 'ab') as file:
            file.write(_MARK)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._partial, self.path)


def is_result_video(path: str | os.PathLike) -> bool:
    """Whether a file is a video that :class:`VideoFile` wrote."""
    try:
        with open(path, 'rb') as file:
            file.seek(-len(_MARK), os.SEEK_END)
            return file.read() == _MARK
    except OSError:
        return False


def refuse_foreign_video(path: str | os.PathLike) -> None:
    """Raises :class:`InputError` where a file stands that is no video of an earlier prediction."""
    if os.path.lexists(path) and not is_result_video(path):
        raise InputError(
            f'{shown(path)} is there already and was not written by this toolkit as a result: move it away, or write to '
            'another folder'
        )
