"""Starting a segmenter from another one's weights: all that fits is taken, what does not is named and starts fresh.

A classifier's rows belong to classes: where both sides tell their classes, each row goes to the class of its name, also
when their number is the same.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from mmseg.models.decode_heads import STDCHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.checkpoints.pretrained import fitting
from mmseg_tapadl.checkpoints.wrapper_names import Weights, as_named_in, weights_of
from mmseg_tapadl.utils.errors import InputError
from mmseg_tapadl.utils.text import plain_word

ENCODER = 'backbone.'
# The weights of mmseg's heads of which one axis counts the classes; PIDHead's d_cls_seg tells edges.
_CLASSIFIER = re.compile(r'(.*\.)?((?!d_)(\w+_)?(conv|cls|fc)_seg\.\w+|se_layer\.\w+|cls_emb|mask_norm\.\w+)')
_SHOWN = 6


@dataclass
class WholeStart:
    """What became of a segmenter's weights when another one started from them.

    Attributes:
        total: How many tensors the model has.
        taken: Those that are now the file's, whole or in the rows of some classes.
        rows: The classifiers that were filled by names, each without ``.weight`` or ``.bias``.
        kept: The classes whose rows were kept.
        fresh_classes: The classes whose rows are new.
        fresh: The tensors that start fresh, each with the reason where it is not simply missing.
        unused: The file's tensors that have no place.
        notes: What a person should know besides.
    """

    total: int
    taken: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    fresh_classes: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self, path: str) -> list[str]:
        """The account, for the log."""
        lines = [f'init-from {path}: {len(self.taken)} of {self.total} tensors taken']
        if self.rows:
            lines.append(
                f'{", ".join(self.rows)}: kept by name: {", ".join(self.kept) or "no class"}; fresh: '
                f'{", ".join(self.fresh_classes) or "no class"}'
            )
        for what, names in (('start fresh', self.fresh), ('of the file are not used', self.unused)):
            if names:
                lines.append(f'{len(names)} {what}: {_grouped(names)}')
        return [*lines, *self.notes]


def start_from_segmenter(
    model: nn.Module,
    checkpoint: Mapping[str, Any],
    *,
    source: str,
    theirs: Sequence[str] | None,
    ours: Sequence[str] | None,
) -> WholeStart:
    """Fills a segmenter with all of another one's weights that fit it.

    Args:
        model: A segmenter with its initial weights, which stay where nothing fits.
        checkpoint: What the file holds: weights within ``state_dict``, ``model`` or ``model_state_dict``, or bare,
            behind any wrapper. Averaged weights are those that mmengine saves under ``state_dict``.
        source: Names the file in errors.
        theirs: The classes of the file, in the order of its outputs; None where it does not tell.
        ours: The classes of the model; None where they are not known. Names are the same when they differ in case, spaces, ``_`` and ``-`` only.

    Returns:
        The account. Nothing is loaded when an error is raised.

    Raises:
        CheckpointError: The file holds no segmenter, or nothing of it fits the model's encoder.
    """
    own = model.state_dict()
    held = as_named_in(weights_of(checkpoint), own)
    found = {**held, **_encoder_part(model, held, own)}
    in_encoder = [key for key in fitting(found, own) if key.startswith(ENCODER) and found[key].ndim > 0]
    if not in_encoder:
        raise CheckpointError(f'{source}: {_why_nothing_fits(held, own)}')
    start = WholeStart(total=len(own))
    named = bool(theirs and ours)
    theirs, ours = (list(names or ()) if named else [] for names in (theirs, ours))
    targets = _matches(theirs, ours)
    same = [plain_word(name) for name in theirs] == [plain_word(name) for name in ours]
    class_counts = _class_counts(model)
    loaded: dict[str, Tensor] = {}
    for key, value in own.items():
        if key not in found:
            if not key.endswith('num_batches_tracked'):
                start.fresh.append(key)
            continue
        other = found[key]
        head = next((name for name in class_counts if key.startswith(f'{name}.')), None)
        counts = head is not None and _CLASSIFIER.fullmatch(key[len(head) + 1 :]) is not None
        axis = _class_axis(value, other, len(ours), len(theirs)) if head and named else None
        if value.shape == other.shape and (not counts or same):
            loaded[key] = other
            if counts and not named:
                start.notes.append(
                    f'{source} does not tell its classes: {key} is taken as if they were the same'
                )
        elif axis is not None and targets and (counts or value.shape != other.shape):
            loaded[key] = _with_rows(value, other, targets, axis)
            start.rows.append(key.removesuffix('.weight').removesuffix('.bias'))
        else:
            start.fresh.append(f'{key} {_reason(value, other)}')
    start.taken = list(loaded)
    start.rows = list(dict.fromkeys(start.rows))
    if start.rows:
        start.kept = [ours[own_row] for own_row in targets]
        start.fresh_classes = [name for row, name in enumerate(ours) if row not in targets]
    start.unused = [key for key in held if key not in own]
    weights = Weights(loaded)
    weights._metadata = getattr(held, '_metadata', {})
    model.load_state_dict(weights, strict=False)
    return start


def _encoder_part(
    model: nn.Module, held: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The encoder's weights as the encoder itself reads them, where that covers more than the names as they are."""
    encoder: Any = getattr(model, 'backbone', None)
    theirs = {key.removeprefix(ENCODER): value for key, value in held.items() if key.startswith(ENCODER)}
    mine = {key.removeprefix(ENCODER): value for key, value in own.items() if key.startswith(ENCODER)}
    best: Mapping[str, Tensor] = {}
    covered = len(fitting(theirs, mine))
    for read in ('own_weights', 'own_keys'):
        if covered == len(mine) or not theirs or not hasattr(encoder, read):
            continue
        # It refuses weights of another structure, of which this function takes what fits.
        with suppress(InputError):
            given = encoder.own_weights(theirs, '') if read == 'own_weights' else encoder.own_keys(theirs)
            if len(fitting(given, mine)) > covered:
                best, covered = given, len(fitting(given, mine))
    return {f'{ENCODER}{key}': value for key, value in best.items()}


def _class_counts(model: nn.Module) -> list[str]:
    """The heads whose outputs are the classes, the innermost first; an edge head's are not."""
    heads = [
        name
        for name, module in model.named_modules()
        if isinstance(module, BaseDecodeHead) and not isinstance(module, STDCHead)
    ]
    return sorted(heads, key=len, reverse=True)


def _matches(theirs: Sequence[str], ours: Sequence[str]) -> dict[int, int]:
    """Row of ours to row of theirs, for the classes that agree by name; a name that could be two of theirs is none."""
    exact = Counter(theirs)
    words = Counter(plain_word(name) for name in theirs)
    found = {}
    for row, name in enumerate(ours):
        if exact[name] == 1:
            found[row] = list(theirs).index(name)
        elif not exact[name] and words[plain_word(name)] == 1:
            found[row] = [plain_word(other) for other in theirs].index(plain_word(name))
    return found


def _class_axis(value: Tensor, other: Tensor, ours: int, theirs: int) -> int | None:
    """The axis along which one tensor has our classes and the other theirs, all else being equal."""
    if value.ndim != other.ndim:
        return None
    for axis in range(value.ndim):
        rest = [(a, b) for i, (a, b) in enumerate(zip(value.shape, other.shape, strict=True)) if i != axis]
        if value.shape[axis] == ours and other.shape[axis] == theirs and all(a == b for a, b in rest):
            return axis
    return None


def _with_rows(value: Tensor, other: Tensor, targets: Mapping[int, int], axis: int) -> Tensor:
    rows = torch.tensor(list(targets), device=value.device)
    taken = other.to(value).index_select(axis, torch.tensor(list(targets.values()), device=value.device))
    return value.clone().index_copy_(axis, rows, taken)


def _reason(value: Tensor, other: Tensor) -> str:
    if value.shape == other.shape:
        return '(other classes)'
    return f'{tuple(other.shape)} for {tuple(value.shape)}'


def _why_nothing_fits(held: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    some = ', '.join(list(held)[:_SHOWN]) or 'no weights'
    mine = ', '.join([key for key in own if key.startswith(ENCODER)][:_SHOWN])
    if any(key.startswith(ENCODER) for key in held):
        return (
            f'none of its tensors ({some}, ...) fits the encoder of the config ({mine}, ...): it is the segmenter of '
            'another encoder, or needs tools/model_converters first'
        )
    return (
        f'holds no segmenter (it has {some}, ...; expected {mine}, ...): weights of an encoder alone are read by '
        '--pretrained FILE'
    )


def _grouped(names: Iterable[str]) -> str:
    """Names in one line, those that differ in numbers only as one with their count."""
    groups = Counter(re.sub(r'(?<=\.)\d+(?=\.)', '*', name) for name in names)
    shown = [f'{name} ({count} of them)' if count > 1 else name for name, count in groups.items()]
    more = f', ... and {len(shown) - _SHOWN} more kinds' if len(shown) > _SHOWN else ''
    return ', '.join(shown[:_SHOWN]) + more
