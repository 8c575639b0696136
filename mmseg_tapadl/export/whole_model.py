"""A segmentor of mmseg as one function of the picture: normalisation before it, logits in the picture's size behind."""

import torch
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from mmseg_tapadl.utils import InputError


class WholeModel(nn.Module):
    """Takes float32 RGB pictures (B, 3, H, W) of 0 to 255 and returns logits (B, C, H, W).

    It is what mmseg's ``predict`` does in the mode ``whole`` to pictures that need no resizing.

    Args:
        segmentor: An ``EncoderDecoder`` in evaluation mode.

    Raises:
        InputError: A segmentor of another kind, one without a logit for each class, or one whose pictures are padded
            before it sees them or have not three channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        if not isinstance(segmentor, EncoderDecoder):
            raise InputError(
                f'{type(segmentor).__name__} cannot be exported: only EncoderDecoder and what is built on it can'
            )
        if segmentor.out_channels != segmentor.num_classes:
            raise InputError(
                f'the head gives {segmentor.out_channels} logits for {segmentor.num_classes} classes; only a head with one for '
                'each class can be exported'
            )
        preprocessor = segmentor.data_preprocessor
        padding = {
            key: value for key, value in (getattr(preprocessor, 'test_cfg', None) or {}).items() if value
        }
        if padding:
            raise InputError(f'data_preprocessor.test_cfg pads pictures ({padding}); that cannot be exported')
        self.segmentor = segmentor
        # mmseg loads BGR and turns it round, or not, before mean and std, which are in the model's order.
        self.takes_rgb = bool(preprocessor._channel_conversion)
        normalised = preprocessor._enable_normalize
        if normalised and preprocessor.mean.numel() != 3:
            raise InputError(
                f'data_preprocessor.mean has {preprocessor.mean.numel()} values; only pictures of three channels are exported'
            )
        for name, neutral in (('mean', 0.0), ('std', 1.0)):
            values = (
                getattr(preprocessor, name).view(1, 3, 1, 1)
                if normalised
                else torch.full((1, 3, 1, 1), neutral)
            )
            self.register_buffer(
                name, values.detach().clone().float().to(next(segmentor.parameters()).device)
            )

    def forward(self, picture: Tensor) -> Tensor:
        """Logits (B, C, H, W) of pictures (B, 3, H, W)."""
        ordered = picture if self.takes_rgb else picture.flip(1)
        size = picture.shape[2:]
        meta = dict(img_shape=size, ori_shape=size, pad_shape=size, padding_size=[0, 0, 0, 0])
        return self.segmentor.encode_decode((ordered - self.mean) / self.std, [meta])
