"""mmseg's own keywords on our SegFormer encoder, as its configs and its test suite for MiT give them."""

import inspect

import pytest
import torch
from mmseg.models.backbones import MixVisionTransformer

from mmseg_tapadl.models.backbones import MIT_ARCHS, TAPMixVisionTransformer
from mmseg_tapadl.utils import InputError

GONE = dict(type='Pretrained', checkpoint='PATH_THAT_DO_NOT_EXIST')
TINY = dict(
    embed_dims=8,
    num_stages=3,
    num_layers=[2, 1, 1],
    num_heads=[1, 2, 4],
    patch_sizes=[7, 3, 3],
    strides=[4, 2, 2],
    sr_ratios=[4, 2, 1],
    out_indices=(0, 2),
    mlp_ratio=2,
    qkv_bias=False,
    drop_rate=0.1,
    attn_drop_rate=0.0,
    drop_path_rate=0.2,
    act_cfg=dict(type='ReLU'),
    norm_cfg=dict(type='LN', eps=1e-5),
    with_cp=True,
    in_channels=4,
    pretrained=None,
    init_cfg=None,
)


def shapes(encoder: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in encoder.state_dict().items()}


def test_every_keyword_of_mmseg_is_taken():
    theirs = inspect.signature(MixVisionTransformer).parameters
    assert set(theirs) <= set(inspect.signature(TAPMixVisionTransformer).parameters)
    assert set(theirs) <= {*TINY}
    mine, reference = TAPMixVisionTransformer(**TINY), MixVisionTransformer(**TINY)
    mine.load_state_dict(reference.state_dict(), strict=True)
    picture = torch.randn(1, 4, 40, 56)
    with torch.no_grad():
        for own, their in zip(mine.eval()(picture), reference.eval()(picture), strict=True):
            torch.testing.assert_close(own, their, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    'given', [dict(embed_dims=32), dict(num_layers=[1, 1, 1, 1]), dict(num_stages=4)], ids=str
)
def test_once_one_size_is_given_mmsegs_defaults_stand_for_the_others(given):
    with torch.device('meta'):
        mine = shapes(TAPMixVisionTransformer(**given))
    assert mine == shapes(MixVisionTransformer(**given))


def test_no_size_at_all_is_b0_as_before():
    assert TAPMixVisionTransformer().feature_channels == MIT_ARCHS['b0'].feature_channels


@pytest.mark.parametrize('tap', [None, dict(num_branches=4)])
def test_passes_the_tests_of_mmsegs_mit(tap):
    model = TAPMixVisionTransformer(embed_dims=32, num_heads=[1, 2, 5, 8], out_indices=(0, 1, 2, 3), tap=tap)
    model.init_weights()
    for height, width in ((224, 224), (224, 256)):
        with torch.no_grad():
            features = model(torch.randn(1, 3, height, width))
        assert [f.shape for f in features] == [
            (1, channels, height // stride, width // stride)
            for channels, stride in zip((32, 64, 160, 256), (4, 8, 16, 32), strict=True)
        ]


def test_pretrained_and_init_cfg_as_mmsegs_tests_give_them():
    small = {key: TINY[key] for key in ('embed_dims', 'num_layers')} | dict(num_layers=[1, 1, 1, 1])
    assert TAPMixVisionTransformer(**small, pretrained=None, init_cfg=None).init_cfg is None
    for given in (dict(init_cfg=GONE), dict(pretrained=GONE['checkpoint'])):
        model = TAPMixVisionTransformer(**small, **given)
        assert model.init_cfg == GONE
        with pytest.raises(OSError):
            model.init_weights()
    for both in (dict(pretrained='x', init_cfg=GONE), dict(pretrained=123, init_cfg=GONE)):
        with pytest.raises(AssertionError):
            TAPMixVisionTransformer(**small, **both)
    with pytest.raises(TypeError):
        TAPMixVisionTransformer(**small, pretrained=123)


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        (dict(arch='b2', embed_dims=32), "arch='b2' and embed_dims: give the sizes one way"),
        (dict(arch=dict(embed_dims=8, num_layers=(1, 1, 1, 1)), num_heads=[1, 2, 5, 8]), 'and num_heads'),
        (dict(arch='b0', num_stages=4), 'and num_stages'),
        (dict(embed_dims=8, num_layers=[1, 1]), 'one number a stage'),
        (dict(num_stages=3), 'num_stages=3: .* for 4 stages'),
        (dict(arch=3), 'arch=3: one of b0'),
    ],
)
def test_sizes_that_contradict_each_other_are_named(given, words):
    with pytest.raises(InputError, match=words):
        TAPMixVisionTransformer(**given)
