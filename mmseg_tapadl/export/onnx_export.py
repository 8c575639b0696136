"""``export_onnx``: a config and a checkpoint become one ONNX file that has been compared with PyTorch."""

import contextlib
import importlib.metadata
import io
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.registry import MODELS

from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers
from mmseg_tapadl.export.proof import HINT, Proof, check_proof, prove
from mmseg_tapadl.export.whole_model import WholeModel
from mmseg_tapadl.inference.names_and_colours import classes_of, names_and_colours
from mmseg_tapadl.inference.onnx_description import OnnxDescription
from mmseg_tapadl.inference.predictor import build_segmentor
from mmseg_tapadl.utils import InputError, sha256_of, shown, sync_folder, temporary_beside, write_json
from mmseg_tapadl.version import __version__

# Encoders whose graphs hold the number of their windows: exported for other sizes they would be wrong.
STATIC_ONLY = {'TAPSwin': 'windows', 'SwinTransformer': 'windows'}


@plain_readers()
def export_onnx(
    config: Config,
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    pictures: Sequence[np.ndarray],
    data: str | os.PathLike | None = None,
    dynamic: bool = False,
    size: tuple[int, int] | None = None,
) -> Proof:
    """Writes ``out`` and, beside it, ``<out>.json`` with the proof.

    The graph takes float32 RGB pictures (B, 3, H, W) of 0 to 255 and gives the logits (B, C, H, W) first. Metadata tell
    names, colours and what :mod:`mmseg_tapadl.inference.onnx_description` knows.

    Args:
        config: Of the model.
        checkpoint: Its weights.
        out: The file to write; it appears only when it has been proved.
        pictures: To prove it with, (H, W, 3), uint8, RGB.
        data: Whose classes the model has, as :func:`~mmseg_tapadl.datasets.named_data.read_data` takes it; None: those of
            the checkpoint, else those of the config's data.
        dynamic: Take pictures of any size and any number; else one picture of ``size``.
        size: Height and width of a static graph; None: those of the first picture.

    Returns:
        What the comparison found.

    Raises:
        InputError: The model cannot be exported, in this way or at all, or does not agree with PyTorch.
    """
    import mmseg_tapadl.register  # noqa: F401  what the config names

    out = Path(out)
    _check_target(out, (checkpoint, config.filename))
    if not pictures:
        raise InputError('an export needs at least one picture to be proved with')
    side = size or pictures[0].shape[:2]
    if min(side) < 1:
        raise InputError(f'size {side[0]} x {side[1]}: height and width must be at least 1')
    if dynamic:
        _check_sizes_are_free((config.get('model') or {}).get('backbone') or {})
    segmentor, meta = build_segmentor(config, checkpoint, device='cpu')
    model = WholeModel(segmentor).eval()
    if segmentor.test_cfg.get('mode') == 'slide':
        print_log('the config tests with sliding windows; the exported file takes whole pictures', 'current')
    if data is not None:
        meta = classes_of(data)
    named = names_and_colours(meta, config, segmentor.num_classes)
    if len(named.classes) != segmentor.num_classes:
        raise InputError(
            f'the model has {segmentor.num_classes} classes, but {data or checkpoint} tells {len(named.classes)} names'
        )
    described = OnnxDescription(
        names=tuple(named.classes),
        input='rgb',
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        size=None if dynamic else (int(side[0]), int(side[1])),
        output='logits',
        palette=[list(colour) for colour in named.palette],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(out)
    try:
        _write_graph(model, temporary, described, dynamic=dynamic, size=side)
        proof = prove(model, temporary, pictures, described)
        check_proof(proof, out, dynamic=dynamic)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(out.parent)
    facts = {
        'file': out.name,
        'sha256': sha256_of(out),
        'config': config.filename,
        'checkpoint': {'path': os.fspath(checkpoint), 'sha256': sha256_of(checkpoint)},
        'dynamic': dynamic,
        'description': {key: value for key, value in asdict(described).items() if key != 'letterbox'},
        'proof': asdict(proof),
        'versions': {'mmseg_tapadl': __version__, **_versions()},
    }
    write_json(out.with_name(f'{out.name}.json'), facts)
    return proof


def _check_target(out: Path, sources: Sequence[str | os.PathLike | None]) -> None:
    """Refuses to write over a folder, over what is read, and over anything that is no ONNX file."""
    if out.is_dir():
        raise InputError(f'{shown(out)}: is a folder; name the file to write')
    read = {os.path.realpath(source) for source in sources if source is not None}
    if os.path.realpath(out) in read or (out.exists() and out.suffix != '.onnx'):
        raise InputError(
            f'{shown(out)}: is there and no .onnx file, so it is not overwritten; choose another name'
        )


def _check_sizes_are_free(backbone: Mapping[str, Any]) -> None:
    kind = backbone.get('type')
    encoder: Any = MODELS.get(kind) if isinstance(kind, str) else kind
    for name in (base.__name__ for base in getattr(encoder, '__mro__', ())):
        if name in STATIC_ONLY:
            raise InputError(
                f'{getattr(encoder, "__name__", kind)} cannot be exported for any size ({STATIC_ONLY[name]}): leave --dynamic out, and export a '
                'file for each size'
            )


def _write_graph(
    model: WholeModel, file: Path, described: OnnxDescription, *, dynamic: bool, size: Sequence[int]
) -> None:
    """Exports with torch's current exporter and puts the metadata into the file."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError('an export needs onnx and onnxscript: pip install "mmseg_tapadl[export]"') from error
    # One picture might be taken for a batch that is always of one.
    picture = torch.zeros(2 if dynamic else 1, 3, int(size[0]), int(size[1]))
    free = torch.export.Dim.DYNAMIC
    shapes: Any = ({0: free, 2: free, 3: free},) if dynamic else None
    try:
        # The exporter tells every step of it; what matters comes as an exception.
        with contextlib.redirect_stdout(io.StringIO()), _quiet_logs(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (picture,),
                dynamo=True,
                input_names=['picture'],
                output_names=['logits'],
                dynamic_shapes=shapes,
                verbose=False,
            )
    except Exception as error:
        reason = ' '.join(str(error.__cause__ or error).split())[:400]
        kind = 'for any size' if dynamic else f'at {size[0]}x{size[1]}'
        raise InputError(
            f'torch cannot export the model {kind}: {shown(reason)}{HINT if dynamic else ""}'
        ) from error
    assert program is not None
    program.model.metadata_props.update({**described.metadata(), 'made_by': f'mmseg_tapadl {__version__}'})
    try:
        program.save(str(file), external_data=False)
    except ValueError as error:  # of protobuf
        reason = ' '.join(str(error).split())[:400]
        raise InputError(
            f'the model does not fit into one ONNX file, which may hold 2 GiB: {shown(reason)}'
        ) from error


@contextlib.contextmanager
def _quiet_logs():
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(former)


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ('torch', 'onnx', 'onnxscript', 'onnxruntime')}
