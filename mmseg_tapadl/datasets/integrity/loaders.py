"""Reading pictures and labels as the config's own pipeline reads them.

What can be used is what the pipeline can load: the check has no opinion of its own about formats, sizes or bands.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
import PIL
from mmcv.transforms import LoadAnnotations as AnyLoadAnnotations
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_tapadl.datasets.integrity.turning import Turning
from mmseg_tapadl.datasets.transforms import LoadDeepImageFromFile, MappedLoadAnnotations

_KNOWN_CODE = ('mmcv', 'mmseg', 'mmengine', 'mmseg_tapadl')
_LOADS = re.compile('load|read|open|decode', re.IGNORECASE)
_OF_LABELS = re.compile('ann|label|mask|seg|gt|truth', re.IGNORECASE)
# Errors that speak of the loader and not of the file: a library that is not installed, a fault in its code
_OF_THE_LOADER = (ImportError, AttributeError, NameError, NotImplementedError)
# What a data set says of a label beside its path
_PLAIN_LABEL = dict(label_map=None, reduce_zero_label=False)


class UncheckableError(Exception):
    """The loader itself cannot run here; that is no fault of the data."""


class LoadedPicture(NamedTuple):
    """A picture as the pipeline has it after loading: its pixels, its size, the file it came from."""

    pixels: np.ndarray
    width: int
    height: int
    path: str


class ImageLoader:
    """The transforms of a pipeline up to the one that loads the picture.

    Args:
        steps: They, in order; empty for a data set without a pipeline, which is taken to load as mmseg does.
    """

    def __init__(self, steps: Sequence[Any] = ()) -> None:
        self.steps = list(steps) or [LoadImageFromFile()]
        self._turning = Turning(lambda path: self.load({'img_path': path}).pixels)

    @property
    def name(self) -> str:
        """For messages."""
        return _described(self.steps[-1])

    @property
    def is_plain(self) -> bool:
        """Whether it is ``LoadImageFromFile`` alone."""
        return len(self.steps) == 1 and type(self.steps[0]) is LoadImageFromFile

    @property
    def scale(self) -> LoadDeepImageFromFile | None:
        """The transform that says how deep pictures are scaled, if it is one."""
        return self.steps[-1] if isinstance(self.steps[-1], LoadDeepImageFromFile) else None

    @cached_property
    def is_known(self) -> bool:
        """Whether its code is known: safe in threads, and the same file gives the same facts next time."""
        return len(self.steps) == 1 and _is_known(self.steps[0])

    @cached_property
    def key(self) -> str:
        """Two loaders with the same key load alike."""
        return '\n'.join(map(repr, self.steps))

    def load(self, entry: Mapping[str, Any]) -> LoadedPicture:
        """Loads the picture of one entry of a data set's list.

        Raises:
            UncheckableError: When the loader cannot run at all.
            Exception: Whatever its transforms raise for a file that they cannot load.
        """
        results = _results(entry)
        for step in self.steps:
            answer = _run(step, results)
            if answer is None:
                raise ValueError('is passed over: loading gives nothing for it')
            results = answer
            if 'img' in results:
                break
        image = results.get('img')
        if not isinstance(image, np.ndarray) or image.ndim < 2:
            raise UncheckableError('the pipeline has no transform that is known to load pictures')
        height, width = tuple(results.get('ori_shape') or image.shape)[:2]
        return LoadedPicture(image, int(width), int(height), str(results.get('img_path') or ''))

    def turns(self, file_format: str, orientation: int) -> bool | None:
        """Whether it turns a picture whose head carries an EXIF orientation.

        Args:
            file_format: As Pillow calls it.
            orientation: 2 to 8.

        Returns:
            None where the answer cannot be had.
        """
        return self._turning.of(file_format, orientation)


class LabelLoader:
    """How a pipeline loads labels.

    Args:
        step: Its transform; None where the pipeline shows none, which is taken to be mmseg's.
    """

    def __init__(self, step: Any = None) -> None:
        self.assumed = step is None
        self.step = LoadAnnotations() if step is None else step
        self._turning = Turning(
            lambda path: self.load(dict(_PLAIN_LABEL, seg_map_path=path), Path(path).read_bytes())
        )

    @property
    def name(self) -> str:
        """For messages."""
        return _described(self.step)

    @property
    def is_coded(self) -> bool:
        """Whether a ``data.yaml`` says what the values of masks, ids or packed colours, stand for."""
        return isinstance(self.step, MappedLoadAnnotations)

    @cached_property
    def keeps_stored_ids(self) -> bool:
        """Whether the ids before the data set's mapping can be had: mmseg's own loading, or that of a ``data.yaml``."""
        own = getattr(type(self.step), '_load_seg_map', None) is LoadAnnotations._load_seg_map
        return own or self.is_coded

    @cached_property
    def is_known(self) -> bool:
        """As :attr:`ImageLoader.is_known`."""
        return self.keeps_stored_ids and _is_known(self.step)

    @cached_property
    def key(self) -> str:
        """As :attr:`ImageLoader.key`."""
        return repr(self.step)

    def load(self, entry: Mapping[str, Any], data: bytes) -> np.ndarray:
        """The ids of one label.

        Args:
            entry: Of the data set's list.
            data: The file's bytes.

        Returns:
            (H, W) ids or packed colours as stored where :attr:`keeps_stored_ids`, else as the transform makes them; or (H, W, C).

        Raises:
            UncheckableError: When the loader cannot run at all.
            Exception: Whatever the loader raises for a file that it cannot load.
        """
        if self.is_coded:
            label = entry['label_coding'].stored(data)
        elif self.keeps_stored_ids:
            # As mmseg's loading does it, before ids are cut to 8 bits and mapped.
            label = mmcv.imfrombytes(data, flag='unchanged', backend=self.step.imdecode_backend)
            if label is None:
                raise ValueError('cannot be decoded')
        else:
            results = _run(self.step, _results(entry))
            label = results.get('gt_seg_map') if results else None
            if not isinstance(label, np.ndarray):
                raise UncheckableError(f'{type(self.step).__name__} gives no gt_seg_map')
        if label.ndim == 3 and label.shape[-1] == 1:
            label = label[..., 0]
        return label

    def turns(self, file_format: str, orientation: int) -> bool | None:
        """As :meth:`ImageLoader.turns`, for labels."""
        return self._turning.of(file_format, orientation)


class _CannotLoad:
    """Stands for a loader that cannot be built."""

    def __init__(self, error: UncheckableError) -> None:
        self.error = error

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        raise self.error


def loaders_of(pipeline: Iterable[Any]) -> tuple[ImageLoader, LabelLoader]:
    """The loading transforms of a pipeline; what cannot be built raises :class:`UncheckableError` for every file.

    Args:
        pipeline: Configs of transforms, or transforms.
    """
    pipeline = list(pipeline)
    images: list[Any] = []
    for step in pipeline:
        if _loads_labels(step):
            continue
        images.append(_built(step))
        # A loader with another name is known by the picture that it leaves.
        if isinstance(images[-1], (LoadImageFromFile, _CannotLoad)) or _LOADS.search(
            type(images[-1]).__name__
        ):
            break
    label = next(filter(_loads_labels, _flattened(pipeline)), None)
    return ImageLoader(images), LabelLoader(None if label is None else _built(label))


def libraries() -> str:
    """What decoded files depend on beside the loaders' options: versions and limits of the libraries."""
    limits = [os.environ.get(f'OPENCV_IO_MAX_IMAGE_{name}') for name in ('PIXELS', 'WIDTH', 'HEIGHT')]
    return f'{cv2.__version__} {PIL.__version__} {mmcv.__version__} {limits} {Image.MAX_IMAGE_PIXELS}'


def _loads_labels(step: Any) -> bool:
    kind = _class_of(step)
    if isinstance(kind, type) and issubclass(kind, AnyLoadAnnotations):
        return True
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return bool(_LOADS.search(name) and _OF_LABELS.search(name)) and 'Image' not in name


def _class_of(step: Any) -> Any:
    if not isinstance(step, Mapping):
        return type(step)
    kind = step.get('type', '')
    return (TRANSFORMS.get(kind) or kind) if isinstance(kind, str) else kind


def _flattened(steps: Any) -> Iterator[Any]:
    """All steps, also those inside others (``TestTimeAug``, ``RandomApply``, ...), in order."""
    if isinstance(steps, (list, tuple)):
        for step in steps:
            yield from _flattened(step)
    elif isinstance(steps, Mapping):
        if 'type' in steps:
            yield steps
        for value in steps.values():
            yield from _flattened(value)
    elif callable(steps):
        yield steps
        yield from _flattened(getattr(steps, 'transforms', ()))


def _built(step: Any) -> Any:
    try:
        transform = TRANSFORMS.build(step) if isinstance(step, Mapping) else step
    except Exception as error:  # a registry and a constructor raise what they like
        reason = f'{type(error).__name__}: {str(error).strip()}'
        return _CannotLoad(UncheckableError(f'the loading cannot be built: {reason}'))
    for options in (getattr(transform, name, None) for name in ('backend_args', 'file_client_args')):
        backend = (options or {}).get('backend', 'local')
        if backend not in ('local', 'disk'):
            return _CannotLoad(UncheckableError(f'files are read through the backend {backend!r}'))
    return transform


def _results(entry: Mapping[str, Any]) -> dict[str, Any]:
    # Transforms append to the list of fields.
    return {'sample_idx': 0, **entry, 'seg_fields': []}


def _run(step: Any, results: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return step(results)
    except Exception as error:
        cause = error.__cause__ or error
        if isinstance(cause, _OF_THE_LOADER) or (isinstance(cause, KeyError) and not _is_known(step)):
            reason = f'{type(cause).__name__}: {str(cause).strip()}'
            raise UncheckableError(f'{type(step).__name__} cannot run here: {reason}') from error
        raise


def _is_known(step: Any) -> bool:
    return type(step).__module__.partition('.')[0] in _KNOWN_CODE


def _described(step: Any) -> str:
    backend = getattr(step, 'imdecode_backend', None)
    return f'{type(step).__name__} ({backend})' if backend else type(step).__name__
