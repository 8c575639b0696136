"""An ONNX file as a predictor, run by onnxruntime. Nothing in the file is executed but the graph."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmseg_tapadl.inference.adapters.seen_sizes import SeenSizes
from mmseg_tapadl.inference.interface import PicturePredictor, Prediction
from mmseg_tapadl.inference.onnx_description import OnnxDescription, describe
from mmseg_tapadl.utils import InputError, sha256_of, shown

_TYPES: dict[str, Any] = {
    'tensor(float)': np.float32,
    'tensor(float16)': np.float16,
    'tensor(double)': np.float64,
    'tensor(uint8)': np.uint8,
}
_GREY = 114  # what Ultralytics fills up with


class OnnxFile(PicturePredictor):
    """A graph that takes (B, 3, H, W) and whose first output holds logits, probabilities or labels.

    Args:
        file: The ONNX file; see :mod:`mmseg_tapadl.inference.onnx_description` for what must be known of it.
        options: In place of what the file tells.
        device: ``'cpu'``, ``'cuda:0'``, ...; None: a GPU where onnxruntime has one.

    Raises:
        InputError: No ONNX file, not told enough of it, or of another form.
    """

    def __init__(
        self, file: str | Path, *, options: Mapping[str, Any] | None = None, device: str | None = None
    ) -> None:
        self.file = Path(file)
        self.name = self.file.stem
        if not self.file.is_file():
            raise InputError(f'onnx:{shown(file)}: no such file')
        self.session = open_session(self.file, device=device)
        inputs = self.session.get_inputs()
        shapes = [[side if isinstance(side, int) else None for side in one.shape] for one in inputs]
        if (
            len(inputs) != 1
            or len(shapes[0]) != 4
            or shapes[0][1] not in (3, None)
            or inputs[0].type not in _TYPES
        ):
            given = ', '.join(f'{one.name} {one.shape} {one.type}' for one in inputs) or 'nothing'
            raise InputError(
                f'onnx:{shown(file)}: takes {given}; one input (B, 3, H, W) of float16, float32, float64 or uint8 is needed'
            )
        (taken,), (shape,) = inputs, shapes
        if shape[0] not in (1, None):
            raise InputError(
                f'onnx:{shown(file)}: takes batches of {shape[0]} pictures only; export it for 1 or any'
            )
        self._input, self._type = taken.name, _TYPES[taken.type]
        self.described: OnnxDescription = describe(
            self.file,
            self.session.get_modelmeta().custom_metadata_map,
            options or {},
            (shape[2], shape[3]),
        )
        if self._type is np.uint8 and (any(self.described.mean) or set(self.described.std) != {1.0}):
            raise InputError(
                f'onnx:{shown(file)}: takes uint8, so nothing can be subtracted from it or divided by: mean must be 0, std 1'
            )
        self.classes = self.described.names
        self.palette = self.described.palette
        self._digests = {'sha256': sha256_of(self.file), **_digests_of_weights(self.file)}
        self._sizes = SeenSizes('onnx')

    def identity(self) -> dict[str, Any]:
        """The digests of the file and of the files that hold its weights, and what is told of it."""
        return {
            'kind': 'onnx',
            **self._digests,
            **{key: value for key, value in self.described.metadata().items() if key != 'palette'},
            'onnxruntime': importlib.metadata.version('onnxruntime'),
        }

    def facts(self) -> dict[str, Any]:
        """The sizes that the graph saw."""
        return self._sizes.facts()

    def predict(self, pictures: Sequence[np.ndarray]) -> list[Prediction]:
        """Labels picture by picture."""
        return [self._predict(picture) for picture in pictures]

    def _predict(self, picture: np.ndarray) -> Prediction:
        described = self.described
        size = picture.shape[:2]
        brought, inside = _brought_to_size(picture, described.size, letterbox=described.letterbox)
        self._sizes.add(size, brought.shape[:2])
        if described.input == 'bgr':
            brought = brought[:, :, ::-1]
        # In double precision and then rounded, so that a mean of 0 and a std of 1 change nothing.
        values = (brought.astype(np.float64) - described.mean) / described.std
        values = np.ascontiguousarray(values.transpose(2, 0, 1)[None].astype(self._type))
        (given,) = self.session.run([self.session.get_outputs()[0].name], {self._input: values})
        return self._prediction(given, brought.shape[:2], inside, size)

    def _prediction(
        self, given: np.ndarray, seen: tuple[int, ...], inside: tuple[slice, slice], size: tuple[int, ...]
    ) -> Prediction:
        """Brings the first output, for a picture of size ``seen`` of which ``inside`` counts, back to ``size``."""
        output = self.described.output or _kind_of(given)
        if output == 'labels':
            maps = given.reshape(-1, *given.shape[-2:])
            if given.ndim not in (3, 4) or len(maps) != 1 or given.dtype.kind not in 'iu':
                raise ValueError(
                    f'the first output is {given.dtype} of shape {given.shape}; labels are whole numbers (1, H, W)'
                )
            labels = torch.from_numpy(maps.astype(np.float64))[None]
            labels = _resized(labels, seen, 'nearest')[..., inside[0], inside[1]]
            return Prediction(_resized(labels, size, 'nearest')[0, 0].long())
        count = len(self.described.names)
        if given.ndim != 4 or given.shape[0] != 1 or given.shape[1] != count or given.dtype.kind != 'f':
            layout = ' (its classes come last: transpose it)' if given.shape[-1] == count else ''
            raise ValueError(
                f'the first output is {given.dtype} of shape {given.shape}{layout}; {output} of {count} classes are '
                f'floating and (1, {count}, H, W)'
            )
        scores = torch.from_numpy(given).float()
        if self.described.letterbox:
            scores = _resized(scores, seen, 'bilinear')[..., inside[0], inside[1]]
        scores = _resized(scores, size, 'bilinear')[0]
        labels = scores.argmax(dim=0)
        return (
            Prediction(labels, logits=scores)
            if output == 'logits'
            else Prediction(labels, probabilities=scores)
        )


def open_session(file: Path, *, device: str | None = None) -> Any:
    """An onnxruntime session.

    Raises:
        InputError: onnxruntime is not there, or cannot read the file.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise InputError(
            'ONNX files need onnx and onnxruntime: pip install "mmseg_tapadl[export]"'
        ) from error
    wanted = (
        ['CPUExecutionProvider'] if device == 'cpu' else ['CUDAExecutionProvider', 'CPUExecutionProvider']
    )
    there = onnxruntime.get_available_providers()
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # what goes wrong is raised
    settings.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(
            str(file), settings, providers=[one for one in wanted if one in there]
        )
    except Exception as error:  # kinds of its own, not all of one base
        reason = ' '.join(str(error).split())
        raise InputError(f'onnx:{shown(file)}: onnxruntime cannot read it: {reason}') from error


def _digests_of_weights(file: Path) -> dict[str, Any]:
    """Of the files beside it that a graph reads weights from; empty where all are inside."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    graph = onnx.load(file, load_external_data=False).graph
    names = {ExternalDataInfo(tensor).location for tensor in graph.initializer if uses_external_data(tensor)}
    return {'weights': {name: sha256_of(file.parent / name) for name in sorted(names)}} if names else {}


def _brought_to_size(
    picture: np.ndarray, size: tuple[int, int] | None, *, letterbox: bool
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The picture in the size wanted, and where in it the picture lies."""
    height, width = picture.shape[:2]
    whole = (slice(None), slice(None))
    if size is None or (height, width) == size:
        return picture, whole
    if not letterbox:
        return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR), whole
    scale = min(size[0] / height, size[1] / width)
    inner = (round(height * scale), round(width * scale))
    top, left = ((outer - own) // 2 for outer, own in zip(size, inner, strict=True))
    filled = np.full((*size, 3), _GREY, np.uint8)
    place = (slice(top, top + inner[0]), slice(left, left + inner[1]))
    filled[place] = cv2.resize(picture, inner[::-1], interpolation=cv2.INTER_LINEAR)
    return filled, place


def _resized(values: Tensor, size: tuple[int, ...], mode: str) -> Tensor:
    if tuple(values.shape[-2:]) == tuple(size):
        return values
    corners = False if mode == 'bilinear' else None
    return functional.interpolate(values, size=tuple(size), mode=mode, align_corners=corners)


def _kind_of(given: np.ndarray) -> str:
    """What an output must be that nobody describes."""
    if given.dtype.kind in 'iu':
        return 'labels'
    sums = given.sum(axis=1)
    return 'probabilities' if given.min() >= 0 and np.abs(sums - 1).max() < 1e-2 else 'logits'
