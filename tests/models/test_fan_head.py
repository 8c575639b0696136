"""The released decode head's own: its names and its four levels; what it computes is in ``test_head_contract``."""

import pytest

from tests.models.builders import build


def fan_head(**changes):
    return build(dict(type='FANHead', in_channels=(8, 12, 16, 16), channels=24, num_classes=5) | changes)


def test_keeps_the_released_names():
    names = {name.rsplit('.', 1)[0] for name in fan_head(norm_cfg=dict(type='BN')).state_dict()}
    assert names == {
        'conv_seg',
        'linear_c1.proj',
        'linear_c2.proj',
        'linear_c3.proj',
        'linear_c4.proj',
        'linear_fuse.conv',
        'linear_fuse.bn',
    }


def test_fuses_four_levels():
    with pytest.raises(ValueError, match='four levels'):
        fan_head(in_channels=(8, 8, 8), in_index=(0, 1, 2))
