"""mmseg's encoder-decoder with a loss on the encoder's attention."""

from collections.abc import Mapping
from typing import Any

from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_tapadl.layers import AttentionWatch
from mmseg_tapadl.models.losses.attention_reach import require_reach_in_training
from mmseg_tapadl.models.segmentors.encoder_normalisation import FROM_ENCODER, with_encoder_numbers
from mmseg_tapadl.models.segmentors.head_channels import check_head_channels
from mmseg_tapadl.models.segmentors.sliding_window import SlidingWindowMixin
from mmseg_tapadl.utils.arguments import lists_valid_arguments
from mmseg_tapadl.utils.errors import InputError


@MODELS.register_module()
@lists_valid_arguments
class AttentionEncoderDecoder(SlidingWindowMixin, EncoderDecoder):
    """``EncoderDecoder`` plus ``loss_attention``, a loss on how the encoder's tokens attend.

    Everything else is mmseg's. At test time nothing is watched and nothing is computed for the loss.

    Args:
        backbone: Config of the encoder.
        loss_attention: Config of the loss, e.g. ``dict(type='AttentionDiversificationLoss')``; it appears among
            the losses as ``loss_adl``. ``None`` switches it off.
        data_preprocessor: As for ``EncoderDecoder``; ``mean='encoder'`` and ``std='encoder'`` take the numbers that
            the encoder's weights expect, where its class knows them.
        **kwargs: The other arguments of ``EncoderDecoder``.

    Raises:
        InputError: ``loss_attention`` is given, but the encoder offers no attention to watch, or none that
            depends on a trainable weight; a head expects other channels than the encoder's features have.
    """

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any],
        loss_attention: Mapping[str, Any] | None = None,
        data_preprocessor: Any = None,
        **kwargs: Any,
    ):
        if data_preprocessor is None or isinstance(data_preprocessor, Mapping):
            data_preprocessor = with_encoder_numbers(data_preprocessor, backbone)
        super().__init__(backbone=backbone, data_preprocessor=data_preprocessor, **kwargs)
        check_head_channels(
            self.backbone, {key: kwargs.get(key) for key in ('decode_head', 'auxiliary_head')}
        )
        self.attention_watch: AttentionWatch | None = None
        if loss_attention is not None:
            # mmengine leaves _delete_ in where the base config has no loss_attention to replace.
            loss_attention = {key: value for key, value in loss_attention.items() if key != '_delete_'}
            self.loss_attention = MODELS.build(loss_attention)
            self.attention_watch = self.loss_attention.watch(self.backbone)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """The losses of a batch: mmseg's own, and ``loss_adl``.

        Args:
            inputs: Pictures (B, 3, H, W).
            data_samples: B ``SegDataSample`` with their ground truth.

        Raises:
            InputError: A watched attention is in evaluation mode, or none depends on a trainable weight.
        """
        if self.attention_watch is None:
            return super().loss(inputs, data_samples)
        with self.attention_watch.listening() as similarities:
            losses = super().loss(inputs, data_samples)
        require_reach_in_training(self.attention_watch, similarities)
        losses['loss_adl'] = self.loss_attention(similarities)
        return losses


def check_normalisation(model: Any) -> None:
    """Says of any other segmentor, before it is built, where its pictures are normalised otherwise than its weights expect.

    Args:
        model: Config of a segmentor; anything else passes. :class:`AttentionEncoderDecoder` says it by itself.

    Raises:
        InputError: ``mean='encoder'`` or ``std='encoder'``, which no other segmentor fills in.
    """
    if not isinstance(model, Mapping) or not isinstance(model.get('backbone'), Mapping):
        return
    cls = MODELS.get(model['type']) if isinstance(model.get('type'), str) else model.get('type')
    if cls is None or issubclass(cls, AttentionEncoderDecoder):
        return
    preprocessor = model.get('data_preprocessor') or {}
    for key in ('mean', 'std'):
        if isinstance(preprocessor, Mapping) and preprocessor.get(key) == FROM_ENCODER:
            raise InputError(
                f"data_preprocessor.{key}='{FROM_ENCODER}': {cls.__name__} does not ask its encoder; write "
                "model.type='AttentionEncoderDecoder', which without loss_attention is an EncoderDecoder, or three numbers"
            )
    if isinstance(preprocessor, Mapping):
        with_encoder_numbers(preprocessor, model['backbone'])
