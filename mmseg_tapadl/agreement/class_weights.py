"""Weights of classes in losses: as many as there are classes, in forms that the pinned mmseg computes."""

from typing import Any

from mmseg.models.decode_heads import SideAdapterCLIPHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.losses.utils import get_class_weight

from mmseg_tapadl.agreement.parts import MISSING, Part, heads, losses


def settle_class_weights(cfg: Any) -> tuple[list[str], list[str]]:
    """Holds the class weights of every loss against its head's number of classes.

    Where ``CrossEntropyLoss`` has both ``class_weight`` and ``avg_non_ignore=True``, the second is switched off: the
    pinned mmseg then looks up the weights of the labelled pixels and masks them as if they were all pixels
    (IndexError). Without it, its weighted mean is over the labelled pixels already, as
    ``torch.nn.functional.cross_entropy`` takes it, so that the loss is what was asked for.

    Args:
        cfg: The config of the run; see above for what is changed.

    Returns:
        The faults and the notes, one line each.
    """
    faults, notes = [], []
    for head in heads(cfg):
        if head.cls is not None and issubclass(head.cls, SideAdapterCLIPHead):
            # It classifies masks, not pixels, with a weight for "no object".
            continue
        for loss in losses(head):
            fault = _fault_of(loss, head)
            if fault:
                faults.append(fault)
            elif _cannot_be_averaged(loss):
                loss.config['avg_non_ignore'] = False
                notes.append(
                    f'{loss.key}: class_weight averages over labelled pixels already; avg_non_ignore=True, which mmseg '
                    'cannot compute beside it, is left out'
                )
    return faults, notes


def _fault_of(loss: Part, head: Part) -> str:
    given = loss.config.get('class_weight')
    outputs = head.argument('num_classes')[0]
    if head.argument('out_channels')[0] == 1:
        outputs = 1
    if given is None or outputs is MISSING or not isinstance(outputs, int):
        return ''
    source = f' (of {given})' if isinstance(given, str) else ''
    try:
        weights = get_class_weight(given)
        count = len(weights)
    except Exception as error:  # any reader's error: .npy, JSON, YAML, pickle
        return f'{loss.key}.class_weight: {given} cannot be read as weights: {type(error).__name__}: {error}'
    if _is_sigmoid_entropy(loss):
        # mmseg hands them on as pos_weight, whose last axis is the picture's width, not the classes.
        if count == 1:
            return ''
        return (
            f'{loss.key} has {count} class weights{source} and use_sigmoid=True, which mmseg can weigh with one number '
            'only: write use_sigmoid=False, or class_weight=[one number]'
        )
    if count == outputs:
        return ''
    return (
        f'{loss.key}.class_weight has {count} weights{source}, but {head.key} has {outputs} classes: write one weight for '
        'each class, in their order'
    )


def _is_sigmoid_entropy(loss: Part) -> bool:
    return _is_entropy(loss) and bool(loss.config.get('use_sigmoid', False))


def _cannot_be_averaged(loss: Part) -> bool:
    config = loss.config
    return (
        _is_entropy(loss)
        and config.get('class_weight') is not None
        and bool(config.get('avg_non_ignore', False))
        and config.get('reduction', 'mean') == 'mean'
        and not config.get('use_sigmoid', False)
        and not config.get('use_mask', False)
    )


def _is_entropy(loss: Part) -> bool:
    # A subclass may have mended it.
    return loss.cls is CrossEntropyLoss
