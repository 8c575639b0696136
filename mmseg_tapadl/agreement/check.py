"""One comparison of everything that is written twice, before anything starts."""

from collections.abc import Sequence
from typing import Any

from mmseg.models.segmentors import DepthEstimator

from mmseg_tapadl.agreement.class_names import compare_classes, names_of
from mmseg_tapadl.agreement.class_weights import settle_class_weights
from mmseg_tapadl.agreement.parts import MISSING, data_sets, heads, segmentor
from mmseg_tapadl.agreement.picture_sizes import compare_sizes
from mmseg_tapadl.agreement.samplers import compare_samplers
from mmseg_tapadl.agreement.void_id import compare_zero_labels, settle_void
from mmseg_tapadl.utils import InputError


class DisagreementError(InputError):
    """Parts of a run contradict each other; the message has one line for each contradiction."""


def check_agreement(
    cfg: Any, splits: Sequence[str], *, weights: str = '', trained: Sequence[str] | None = None
) -> list[str]:
    """Compares what a config and a checkpoint say in several places; all entries call it before they start.

    Classes (weights, data sets, heads), the id of void pixels, samplers and, for a training, the lengths of class
    weights and the sizes in a batch. Nothing is built and no data is loaded, so that it takes milliseconds (the headers
    of training pictures are read where only they tell the sizes in a batch).

    Args:
        cfg: The config of the run. Left out places of an unusual void id are filled in, and options that the pinned
            mmseg cannot compute together are replaced by their equal; the notes say so.
        splits: The splits that the run uses: ``('train', 'val')``, ``('test',)``, none for prediction.
        weights: The checkpoint that is tested, for messages; a training's own start is not compared.
        trained: The names of the classes that it knows, in the order of its outputs; None where it does not tell.

    Returns:
        What was filled in or could not be compared, one line each, for the log.

    Raises:
        DisagreementError: With all contradictions, one line each.
    """
    model = segmentor(cfg)
    if model is not None and model.cls is not None and issubclass(model.cls, DepthEstimator):
        return []
    used = [split for split in splits if cfg.get(f'{split}_dataloader')]
    faults, notes = compare_classes(cfg, used, trained, weights)
    found = [settle_void(cfg, used, _number_of_classes(cfg, used, trained))] if used else []
    if 'train' in used:
        found += [settle_class_weights(cfg), (compare_sizes(cfg), [])]
    found.append(([*compare_zero_labels(cfg, used), *compare_samplers(cfg, used)], []))
    for more_faults, more_notes in found:
        faults += more_faults
        notes += more_notes
    if faults:
        raise DisagreementError(_message(list(dict.fromkeys(faults))))
    return notes


def _number_of_classes(cfg: Any, splits: Sequence[str], trained: Sequence[str] | None) -> int | None:
    if trained:
        return len(trained)
    for split in splits:
        for leaf in data_sets(cfg, split):
            try:
                names = names_of(leaf)
            except InputError:  # told by the comparison of the names
                continue
            if names is not None:
                return len(names)
    counts = [head.argument('num_classes')[0] for head in heads(cfg)]
    return next((count for count in counts if count is not MISSING and isinstance(count, int)), None)


def _message(faults: Sequence[str]) -> str:
    if len(faults) == 1:
        return faults[0]
    return f'{len(faults)} contradictions:\n' + '\n'.join(f'  {fault}' for fault in faults)
