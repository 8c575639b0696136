"""A head that expects other channels than the encoder gives is named, with what to set, when the model is built."""

import pytest

from mmseg_tapadl.utils.errors import InputError
from tests.models.builders import build, segmentor_config

SWIN = dict(
    type='TAPSwin', arch=dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), window_size=4)
)
MIT = dict(type='TAPMixVisionTransformer', arch='b0')


def auxiliary(**changes):
    return dict(type='FCNHead', in_channels=32, in_index=2, channels=8, num_classes=19) | changes


def config(backbone, in_channels, **changes):
    return segmentor_config(backbone=backbone, in_channels=in_channels, loss_attention=None, **changes)


@pytest.mark.parametrize(
    ('backbone', 'in_channels', 'head', 'message'),
    [
        (
            SWIN,
            (8, 16, 32, 32),
            auxiliary(in_channels=16),
            'TAPSwin gives features of 8, 16, 32, 64 channels: model.decode_head.in_channels=(8, 16, 32, 32): set it to '
            '8,16,32,64; model.auxiliary_head.in_channels=16: set it to 32',
        ),
        (
            SWIN,
            (8, 16, 32, 64),
            [auxiliary(), auxiliary(in_index=1)],
            'model.auxiliary_head[1].in_channels=32: set it to 16',
        ),
        (
            MIT,
            (32, 64, 160, 256),
            auxiliary(in_index=4),
            'model.auxiliary_head.in_index=4: choose from 0 to 3',
        ),
        (
            dict(MIT, out_indices=(1, 3)),
            (32, 64, 160, 256),
            None,
            'TAPMixVisionTransformer gives features of 64, 256 channels: model.decode_head.in_channels=(32, 64, 160, 256)',
        ),
    ],
)
def test_other_channels_are_named_with_what_to_set(backbone, in_channels, head, message):
    with pytest.raises(InputError) as error:
        build(config(backbone, in_channels, auxiliary_head=head))
    assert message in str(error.value)


def test_the_features_in_another_order_or_only_some_of_them_are_taken():
    build(config(SWIN, (8, 16, 32, 64), auxiliary_head=auxiliary(in_channels=64, in_index=-1)))
    head = dict(config(SWIN, ())['decode_head'], in_channels=(64, 16), in_index=(3, 1), type='FCNHead')
    model = build(config(SWIN, (), decode_head=dict(head, input_transform='resize_concat')))
    assert model.decode_head.in_channels == 80


def test_an_encoder_that_does_not_tell_its_channels_is_not_asked():
    mmseg = dict(type='MixVisionTransformer', embed_dims=8, num_heads=(1, 1, 1, 1))
    build(config(mmseg, (1, 2, 3, 4)))
