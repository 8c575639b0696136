"""Whether a loss on the attention can move any weight: asked when the model is built, and in every training step.

A loss that reaches no trainable weight is a constant: training would go on, and nobody would notice.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mmseg_tapadl.layers import AttentionWatch
from mmseg_tapadl.layers.attention_watch import NoGradientError
from mmseg_tapadl.utils.errors import InputError

REMEDY = (
    'train what the watched attention is computed from, choose other layers (loss_attention.layers), '
    'or switch the loss off with --cfg-options model.loss_attention=None'
)

# Pictures of the trial pass: two, since a batch norm may see a single token of each.
TRIAL_PICTURES = (2, 3, 64, 64)


def require_reach_when_built(encoder: nn.Module, watch: AttentionWatch) -> None:
    """Raises ``InputError`` where the watched attention depends on no trainable weight of the encoder.

    Where some weights are frozen and others not, one small forward pass tells: zeros of ``TRIAL_PICTURES``, in
    training mode, which leaves no trace. An encoder that cannot take them is judged in the training step.
    """
    trainable = [parameter.requires_grad for parameter in encoder.parameters()]
    if all(trainable):
        return
    name = type(encoder).__name__
    if not any(trainable):
        tap = (
            'with frozen=True give tap=dict(num_branches=4), which trains, or '
            if getattr(encoder, 'frozen', False)
            else ''
        )
        raise InputError(
            f'loss_attention: all weights of {name} are frozen, so it would be a constant: {tap}{REMEDY}'
        )
    similarities = trial_pass(encoder, watch)
    if similarities is not None and not any(s.requires_grad for s in similarities):
        raise InputError(
            f'loss_attention: no watched attention of {name} depends on a trainable weight or all are in '
            f'evaluation mode, so it would be a constant: {REMEDY}'
        )


def trial_pass(encoder: nn.Module, watch: AttentionWatch) -> list[Tensor] | None:
    """The similarities of one pass in training mode; ``None`` if the encoder does not take such pictures."""
    parameter = next(encoder.parameters())
    buffers = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    modes = {module: module.training for module in encoder.modules()}
    encoder.train()  # by the encoder's own method, which may keep frozen parts in evaluation mode
    try:
        with torch.random.fork_rng(), torch.enable_grad(), watch.listening() as similarities:
            pictures = parameter.new_zeros(TRIAL_PICTURES)
            functional_call(encoder, buffers, (pictures,))
    except NoGradientError as error:
        raise InputError(f'loss_attention: {error}') from None
    except Exception:
        # Whatever an encoder for other inputs makes of these pictures is no verdict on it.
        return None
    finally:
        for module, mode in modes.items():
            module.training = mode
    return similarities


def require_reach_in_training(watch: AttentionWatch, similarities: Sequence[Tensor]) -> None:
    """Raises ``InputError`` where a training step's similarities are missing, or none carries a gradient."""
    idle = [i for i, attention in enumerate(watch.attentions) if not attention.training]
    if idle:
        raise InputError(
            f'loss_attention: {len(idle)} of {len(watch.attentions)} watched attentions (number {idle[0]} of them '
            f'first) are in evaluation mode, where none is computed: call train() on the encoder, or {REMEDY}'
        )
    if not similarities:
        raise InputError(f'loss_attention: no watched attention took part in the forward pass: {REMEDY}')
    if torch.is_grad_enabled() and not any(s.requires_grad for s in similarities):
        raise InputError(
            'loss_attention: no watched attention depends on a trainable weight any more, so it would be a '
            f'constant: {REMEDY}'
        )
