"""RVT against plain formulas in float64, its released sizes, and what it refuses."""

import pytest
import torch

from mmseg_tapadl.layers import AttentionWatch
from mmseg_tapadl.layers.textbook import textbook_diversified_attention
from mmseg_tapadl.models.backbones import RVT, RVT_ARCHS
from mmseg_tapadl.utils.errors import InputError
from tests.device import DEVICE
from tests.models.builders import build
from tests.references.released_rvt import RELEASED, ReleasedRVT, rvt_shapes, rvt_tokens, rvt_weights

# One stage, and two of unequal head widths; PAAS of a small grid so that it is quick, and of the released one.
ONE = ReleasedRVT((24,), (3,), (3,), side=4)
TWO = ReleasedRVT((16, 32), (2, 2), (2, 2), side=4)
FULL = ReleasedRVT((8,), (2,), (2,), side=14)
SHORT = ReleasedRVT((8, 16), (1, 1), (2, 2), side=4)
FEATURES = {ONE: (0, 1, 2), TWO: (0, 1, 3), FULL: (0, 1), SHORT: (0, 1)}


def encoder_of(sizes: ReleasedRVT, form: dict, **options) -> RVT:
    arch = dict(
        embed_dims=sizes.dims,
        depths=sizes.depths,
        num_heads=sizes.heads,
        feature_blocks=FEATURES[sizes],
        paas_side=sizes.side,
        paas_blocks=form.get('paas', ()),
        feed_forward=form.get('feed_forward', 'conv'),
    )
    branches = form.get('branches')
    tap = None if branches is None else dict(num_branches=branches)
    options.setdefault('out_indices', range(len(FEATURES[sizes])))
    return build(dict(type='RVT', arch=arch, tap=tap, **options)).double()


def filled(sizes: ReleasedRVT, form: dict, **options) -> tuple[RVT, dict]:
    """The encoder with made-up weights of the released names, every one of them in its place."""
    encoder = encoder_of(sizes, form, **options)
    weights = {name: value.double().to(DEVICE) for name, value in rvt_weights(sizes, **form).items()}
    encoder.load_state_dict({k: v for k, v in weights.items() if not k.startswith('head.')}, strict=True)
    return encoder, weights


def picture(height: int, width: int, size: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 3, height, width, dtype=torch.float64, generator=generator).to(DEVICE)


@pytest.mark.parametrize(
    ('sizes', 'form', 'size'),
    [
        (ONE, dict(), (64, 48)),
        (ONE, dict(feed_forward='plain'), (64, 48)),
        (ONE, dict(paas=(0, 1, 2), branches=4), (64, 64)),  # on the grid of PAAS
        (ONE, dict(paas=(0, 2), feed_forward='plain'), (48, 112)),
        (TWO, dict(paas=(0, 1), branches=3), (80, 112)),  # odd grids: the pooling rounds up
        (FULL, dict(paas=(0, 1)), (224, 224)),
        (FULL, dict(paas=(1,), feed_forward='plain', branches=2), (128, 256)),
    ],
)
def test_it_is_the_released_function(sizes, form, size):
    encoder, weights = filled(sizes, form)
    outputs = rvt_tokens(weights, picture(*size), sizes)
    expected = [*(outputs[block] for block in FEATURES[sizes][:-1]), outputs[-1]]
    with torch.no_grad():
        features = encoder.eval()(picture(*size))
    assert len(features) == len(expected)
    for feature, reference in zip(features, expected, strict=True):
        assert reference.std() > 0.5  # large enough that 1e-8 says something
        torch.testing.assert_close(feature, reference, rtol=0, atol=1e-8)


def test_every_weight_of_a_release_matters():
    """Otherwise the comparison could pass with one of them unused."""
    encoder, _ = filled(TWO, dict(paas=(0, 1), branches=3))
    features = encoder.eval()(picture(80, 112))
    sum((f * torch.randn_like(f)).sum() for f in features).backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad.abs().max() < 1e-6]
    assert silent == []


def test_the_similarity_is_that_of_the_scaled_attention():
    form = dict(paas=(0, 2), branches=4)
    encoder, _ = filled(ONE, form)
    expected = []

    def record(attention, inputs, options, output):
        q, k, v = inputs
        gain = options['gain']
        whole = None if gain is None else gain(slice(0, q.shape[2]))
        expected.append(textbook_diversified_attention(q, k, v, gain=whole)[1].detach())

    watch = AttentionWatch(encoder)
    for attention in watch.attentions:
        attention.register_forward_hook(record, with_kwargs=True)
    with watch.listening() as similarities:
        encoder(picture(48, 112))
    assert torch.cat(expected).max() > 0.01
    for own, reference in zip(similarities, expected, strict=True):
        torch.testing.assert_close(own, reference, rtol=0, atol=1e-10)


@pytest.mark.parametrize('side', [4, 3], ids=['on-its-grid', 'on-another'])
def test_gradients_by_differences(side):
    sizes = ReleasedRVT((4,), (1,), (2,), side=4)
    encoder = RVT(
        arch=dict(
            embed_dims=(4,), depths=(1,), num_heads=(2,), feature_blocks=(0,), paas_blocks=(0,), paas_side=4
        ),
        tap=dict(num_branches=2),
        out_indices=(0,),
    ).double()
    weights = rvt_weights(sizes, paas=(0,), branches=2)
    encoder.load_state_dict({k: v for k, v in weights.items() if not k.startswith('head.')})
    encoder.eval().requires_grad_(False)
    block = encoder.transformers[0].blocks[0]
    tokens = torch.randn(1, side * side, 4, dtype=torch.float64, requires_grad=True)
    names = ('attn.att_mask', 'attn.qkv.weight', 'mlp.dwconv.weight', 'dilation_predictor.proj.2.weight')
    values = [block.get_parameter(name).clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(
        lambda x, *own: torch.func.functional_call(
            block, dict(zip(names, own, strict=True)), (x, (side, side))
        ),
        (tokens, *values),
        fast_mode=True,
    )


PARAMETERS = {
    # arch, feed-forward, branches: millions, as counted in the released code with its classifier of 1000 classes
    ('tiny', 'conv', None): 8.646,
    ('tiny', 'conv', 4): 8.745,
    ('tiny_plus', 'conv', None): 10.951,
    ('tiny_plus', 'conv', 4): 11.050,
    ('small', 'conv', None): 22.148,
    ('small', 'conv', 4): 22.316,
    ('small_plus', 'conv', None): 23.301,
    ('small_plus', 'conv', 4): 23.469,
    ('base', 'plain', None): 86.224,
    ('base', 'conv', 4): 87.092,
    ('base_plus', 'plain', None): 88.529,
    ('base_plus', 'conv', 4): 89.397,
}


@pytest.mark.parametrize(('arch', 'feed_forward', 'branches'), PARAMETERS)
def test_the_released_sizes(arch, feed_forward, branches):
    with torch.device('meta'):
        encoder = RVT(
            arch,
            tap=branches and dict(num_branches=branches),
            feed_forward=feed_forward,
            norm_cfg=dict(type='BN'),
        )
    dim = RVT_ARCHS[arch].embed_dims[-1]
    count = sum(p.numel() for p in encoder.parameters()) + (dim + 1) * 1000
    assert round(count / 1e6, 3) == PARAMETERS[arch, feed_forward, branches]
    paas = range(0) if 'plus' not in arch else range(10 if 'tiny' in arch else 5)
    released = rvt_shapes(
        RELEASED[arch.removesuffix('_plus')], feed_forward=feed_forward, paas=paas, branches=branches
    )
    own = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    assert own == {name: shape for name, shape in released.items() if not name.startswith('head.')}


def test_by_name_alone_it_has_the_released_keys():
    """450 entries with the classifier, as the released code of RVT-B* with TAP has them."""
    with torch.device('meta'):
        assert len(RVT('base_plus', tap=dict(num_branches=4)).state_dict()) + 2 == 450
        twelve = RVT('base_plus', tap=dict(num_branches=4), feed_forward='plain', paas_blocks=range(12))
    assert round((sum(p.numel() for p in twelve.parameters()) + 769000) / 1e6, 1) == 92.1


@pytest.mark.parametrize('arch', ['tiny', 'tiny_plus', 'small_plus'])
def test_every_parameter_gets_a_gradient(arch):
    encoder = build(dict(type='RVT', arch=arch, tap=dict(num_branches=4)))
    features = encoder(torch.randn(1, 3, 64, 96, device=DEVICE))
    channels = RVT_ARCHS[arch].feature_channels
    assert [tuple(f.shape) for f in features] == [
        (1, width, 64 // stride, 96 // stride)
        for width, stride in zip(channels, (16, 16, 16, 32 if 'tiny' in arch else 16), strict=True)
    ]
    sum((f * torch.randn_like(f)).sum() for f in features).backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('out_indices', [(0,), (1,), (0, 2), (2,), (0, 1, 2)])
def test_only_what_the_chosen_features_need_is_built(out_indices):
    form = dict(paas=(0, 1), branches=3)
    whole, part = encoder_of(TWO, form), encoder_of(TWO, form, out_indices=out_indices)
    assert not part.load_state_dict(whole.state_dict(), strict=False).missing_keys
    features, expected = part.eval()(picture(64, 48)), whole.eval()(picture(64, 48))
    for feature, index in zip(features, out_indices, strict=True):
        assert torch.equal(feature, expected[index])
    sum((f * torch.randn_like(f)).sum() for f in features).backward()
    assert [name for name, p in part.named_parameters() if p.grad is None] == []
    assert (part.norm is None) == (2 not in out_indices)
    assert part.feature_channels == [(16, 16, 32)[index] for index in out_indices]


@pytest.mark.parametrize(('height', 'width'), [(33, 50), (17, 16), (1, 1)])
def test_an_odd_picture_is_padded_with_zeros_at_the_right_and_the_bottom(height, width):
    encoder, _ = filled(TWO, dict(paas=(0, 1)))
    padded = torch.zeros(
        2, 3, -(-height // 16) * 16, -(-width // 16) * 16, dtype=torch.float64, device=DEVICE
    )
    padded[:, :, :height, :width] = picture(height, width)
    with torch.no_grad():
        for own, reference in zip(encoder.eval()(picture(height, width)), encoder(padded), strict=True):
            assert torch.equal(own, reference)


def test_drop_path_rises_to_less_than_the_rate():
    encoder = encoder_of(TWO, {}, drop_path_rate=0.4)
    rates = [
        getattr(block.drop_path, 'drop_prob', 0.0) for stage in encoder.transformers for block in stage.blocks
    ]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])  # 0.4 * b / 4


def test_layers_for_the_decay_of_rates():
    encoder = encoder_of(TWO, dict(paas=(0, 1), branches=3))
    assert encoder.num_layers == 4
    expected = {
        'patch_embed.proj.3.weight': 0,
        'transformers.0.blocks.0.attn.att_mask': 1,
        'transformers.0.blocks.1.mlp.bn2.bias': 2,
        'pools.0.conv.weight': 3,
        'transformers.1.blocks.0.attn.qkv.weight': 3,
        'transformers.1.blocks.1.norm1.weight': 4,
        'transformers.0.blocks.0.dilation_predictor.proj.0.weight': 5,
        'norm.weight': 5,
    }
    assert {name: encoder.layer_of(name) for name in expected} == expected
    names = dict(encoder.named_parameters())
    assert set(expected) <= set(names)
    assert not encoder.has_no_decay('transformers.0.blocks.0.attn.att_mask')


def test_it_exports_at_a_fixed_size():
    encoder, _ = filled(SHORT, dict(paas=(0,), branches=3))
    encoder.eval()
    with torch.no_grad():
        exported = torch.export.export(encoder, (picture(50, 70, 1),)).module()
        for own, reference in zip(exported(picture(50, 70, 1)), encoder(picture(50, 70, 1)), strict=True):
            torch.testing.assert_close(own, reference, rtol=0, atol=1e-10)


@pytest.mark.parametrize('paas', [(), (0,)], ids=['without-paas', 'paas'])
def test_it_exports_for_any_size(paas):
    rows, columns = (16 * torch.export.Dim(name, min=2, max=40) for name in ('rows', 'columns'))
    encoder, _ = filled(SHORT, dict(paas=paas))
    encoder.eval()
    with torch.no_grad():
        sides = ({2: rows, 3: columns},)
        exported = torch.export.export(encoder, (picture(64, 96, 1),), dynamic_shapes=sides).module()
        for size in ((80, 48), (64, 64)):  # the second is the grid on which PAAS is learned
            for own, reference in zip(exported(picture(*size, 1)), encoder(picture(*size, 1)), strict=True):
                torch.testing.assert_close(own, reference, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='huge'), "unknown arch 'huge'; valid: tiny, small, base, tiny_plus"),
        (dict(arch=dict(width=3)), 'its fields are embed_dims, depths'),
        (dict(arch='small', feed_forward='linear'), "feed_forward='linear': valid are conv, plain"),
        (
            dict(arch='tiny', paas_blocks=[9, 10]),
            r'paas_blocks=\[9, 10\]: the blocks of the first stage are 0 to 9',
        ),
        (dict(arch='small', paas_blocks=[1, 0]), 'ascending'),
        (dict(arch='small', paas_blocks=[-1]), 'paas_blocks'),
        (dict(arch='small', out_indices=(4,)), r'out_indices=\(4,\): choose from 0, 1, 2, 3'),
        (dict(arch='small', tap=dict(branches=4)), 'num_branches'),
        (dict(arch='small', init_cfg=dict(type='Kaiming')), 'only dict'),
        (
            dict(arch=dict(embed_dims=(8, 24), depths=(1, 1), num_heads=(2, 2), feature_blocks=(1,))),
            r'embed_dims=\[8, 24\]: each stage doubles',
        ),
        (
            dict(arch=dict(embed_dims=(8,), depths=(1,), num_heads=(3,), feature_blocks=(0,))),
            r'num_heads=\[3\]: 3 does not divide',
        ),
        (
            dict(arch=dict(embed_dims=(8,), depths=(2,), num_heads=(2,), feature_blocks=(0,))),
            r'feature_blocks=\[0\]: the last is 1',
        ),
    ],
)
def test_a_wrong_option_says_what_is_valid(options, message):
    with pytest.raises(InputError, match=message):
        build(dict(type='RVT', **options))
