"""Swin against plain formulas and against mmseg's own: names, function, gradients; then what it adds."""

import pytest
import torch
from mmseg.models.backbones import SwinTransformer

from mmseg_tapadl.layers import AttentionWatch
from mmseg_tapadl.models.backbones import SWIN_ARCHS, TAPSwin
from tests.models.builders import build
from tests.references.plain_swin import made_up_weights, plain_swin

TINY = dict(embed_dims=8, depths=(2, 1, 2), num_heads=(1, 2, 4), window_size=4)
WIDE = dict(embed_dims=12, depths=(1, 2), num_heads=(3, 2), window_size=3)
TAP = dict(num_branches=3)


def ours(arch=TINY, **changes) -> TAPSwin:
    """Our tiny encoder as a config builds it."""
    stages = range(len(arch['depths']))
    return build(dict(type='TAPSwin', arch=arch, out_indices=stages) | changes)


def mmseg_swin(arch=TINY, **changes) -> SwinTransformer:
    """mmseg's own encoder of the same sizes."""
    stages = range(len(arch['depths']))
    strides = (4, *[2] * (len(stages) - 1))
    options = dict(drop_path_rate=0.0, strides=strides, out_indices=tuple(stages))
    return build(dict(type='SwinTransformer') | options | arch | changes)


def randomise(model: torch.nn.Module, seed: int = 7) -> None:
    """Made-up weights for whatever is no index."""
    state = model.state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items() if value.is_floating_point()}
    made = made_up_weights(shapes, seed)
    model.load_state_dict({**state, **made})


def picture_of(height: int, width: int, *, size: int = 2, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(size, 3, height, width, generator=generator).to(dtype)


@pytest.mark.parametrize('tap', [None, TAP], ids=['plain', 'tap'])
@pytest.mark.parametrize(
    ('arch', 'height', 'width'), [(TINY, 33, 50), (TINY, 64, 32), (WIDE, 27, 45)], ids=['odd', 'even', 'wide']
)
def test_it_is_the_plain_formulas_with_values_similarity_and_gradients(arch, height, width, tap):
    encoder = ours(arch, tap=tap).double()
    randomise(encoder)
    watch = AttentionWatch(encoder)
    encoder.train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # running statistics, so that pictures are treated alike
    picture = picture_of(height, width).requires_grad_()
    with watch.listening() as similarities:
        features = encoder(picture)

    parameters = dict(encoder.named_parameters())
    plain = {name: value.detach().clone() for name, value in encoder.state_dict().items()}
    for name in parameters:
        plain[name].requires_grad_()
    plain_picture = picture.detach().clone().requires_grad_()
    expected, expected_similarities = plain_swin(
        plain, plain_picture, depths=arch['depths'], heads=arch['num_heads'], window=arch['window_size']
    )
    for own, reference in zip(features, expected, strict=True):
        assert reference.std() > 0.5  # large enough that 1e-8 says something
        torch.testing.assert_close(own, reference, rtol=0, atol=1e-8)
    assert torch.cat(expected_similarities).max() > 0.3
    for own, reference in zip(similarities, expected_similarities, strict=True):
        torch.testing.assert_close(own, reference, rtol=0, atol=1e-8)

    def loss(outputs, alike):
        weigher = torch.Generator().manual_seed(9)
        total = sum((f * torch.randn(f.shape, generator=weigher)).mean() for f in outputs)
        return total + torch.stack([s.mean() for s in alike]).mean()

    loss(features, similarities).backward()
    loss(expected, expected_similarities).backward()
    torch.testing.assert_close(picture.grad, plain_picture.grad, rtol=0, atol=1e-8)
    for name, parameter in parameters.items():
        torch.testing.assert_close(parameter.grad, plain[name].grad, rtol=1e-8, atol=1e-8, msg=name)


@pytest.mark.parametrize(
    ('height', 'width'), [(1, 1), (3, 90), (60, 60), (64, 96), (65, 47), (113, 81), (192, 192)]
)
@pytest.mark.parametrize('window_size', [1, 4, 7])
def test_without_tap_it_is_mmsegs_function(height, width, window_size):
    arch = dict(TINY, window_size=window_size)
    theirs = mmseg_swin(arch)
    theirs.eval()  # which returns nothing there
    randomise(theirs)
    mine = ours(arch).eval()
    mine.load_state_dict(theirs.state_dict(), strict=True)
    picture = picture_of(height, width, dtype=torch.float32)
    with torch.no_grad():
        for own, reference in zip(mine(picture), theirs(picture), strict=True):
            assert own.shape == reference.shape
            torch.testing.assert_close(own, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('watched', [False, True], ids=['unwatched', 'watched'])
@pytest.mark.parametrize('qkv_bias', [True, False])
def test_its_gradients_and_random_numbers_are_mmsegs(watched, qkv_bias):
    options = dict(drop_path_rate=0.4, qkv_bias=qkv_bias)
    theirs = mmseg_swin(**options).double()
    randomise(theirs)
    mine = ours(**options).double()
    mine.load_state_dict(theirs.state_dict(), strict=True)
    if watched:
        AttentionWatch(mine)
    results = []
    for encoder in (theirs, mine):
        encoder.train()
        torch.manual_seed(3)
        features = encoder(picture_of(65, 47))
        sum(f.square().mean() for f in features).backward()
        results.append([*features, *(p.grad for p in encoder.parameters())])
    for own, reference in zip(*reversed(results), strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize('arch', SWIN_ARCHS)
def test_every_size_has_the_names_and_shapes_of_mmseg(arch):
    sizes = SWIN_ARCHS[arch]
    theirs = build(
        dict(
            type='SwinTransformer',
            embed_dims=sizes.embed_dims,
            depths=sizes.depths,
            num_heads=sizes.num_heads,
        )
    ).state_dict()
    with torch.device('meta'):
        plain = build(dict(type='TAPSwin', arch=arch)).state_dict()
        with_tap = build(dict(type='TAPSwin', arch=arch, tap=TAP)).state_dict()
    assert {name: value.shape for name, value in plain.items()} == {n: v.shape for n, v in theirs.items()}
    assert {name for name in with_tap if 'dilation_predictor' not in name} == set(theirs)
    predictors = [name for name in with_tap if name.endswith('.dilation_predictor.proj.0.weight')]
    assert len(predictors) == sum(sizes.depths)


def test_tap_pools_the_whole_grid_before_the_norm_and_not_the_residual():
    block, plain = (ours(tap=tap).eval().stages[0].blocks[1] for tap in (TAP, None))
    plain.load_state_dict({n: v for n, v in block.state_dict().items() if 'dilation' not in n})
    with torch.no_grad():
        # All weight on the dilation-1 mean: the block is then the plain one on averaged tokens.
        for module in (block, plain):
            module.ffn.layers[1].weight.zero_()
            module.ffn.layers[1].bias.zero_()
        block.dilation_predictor.proj[2].weight.zero_()
        block.dilation_predictor.proj[1].bias.fill_(1.0)
        block.dilation_predictor.proj[2].weight[1, :, 1, 1] = 1e4
        tokens = torch.randn(1, 13 * 9, 8)
        grid = tokens.transpose(1, 2).reshape(1, 8, 13, 9)
        mean = torch.nn.functional.avg_pool2d(grid, 3, stride=1, padding=1).flatten(2).transpose(1, 2)
        expected = tokens + (plain(mean, (13, 9)) - mean)
        torch.testing.assert_close(block(tokens, (13, 9)), expected, rtol=1e-4, atol=1e-5)


def test_a_layer_gives_one_value_for_each_window_of_each_picture():
    encoder = ours()
    with AttentionWatch(encoder).listening() as similarities:
        encoder(picture_of(64, 80, size=3, dtype=torch.float32))
    # Grids 16 x 20, 8 x 10 and 4 x 5 tokens in windows of 4 x 4.
    assert [len(values) for values in similarities] == [3 * 20, 3 * 20, 3 * 6, 3 * 2, 3 * 2]


def test_position_biases_learn_what_the_scores_tell_them():
    """The table's gradient is that of the scores, summed over all pairs of one distance, windows and pictures."""
    encoder = ours().double()
    randomise(encoder)
    attention = encoder.stages[0].blocks[1].attn.w_msa
    seen = {}
    attention.core.register_forward_pre_hook(
        lambda module, inputs, options: seen.update(bias=options['bias']), with_kwargs=True
    )
    with AttentionWatch(encoder).listening() as similarities:
        encoder(picture_of(40, 40))
    similarities[1].sum().backward(
        inputs=[seen['bias'], attention.relative_position_bias_table], retain_graph=True
    )
    assert seen['bias'].grad.abs().max() > 0
    expected = torch.zeros_like(attention.relative_position_bias_table)
    per_pair = seen['bias'].grad.sum(0)  # (h, M, M)
    for query, row in enumerate(attention.relative_position_index.tolist()):
        for key, distance in enumerate(row):
            expected[distance] += per_pair[:, query, key]
    torch.testing.assert_close(attention.relative_position_bias_table.grad, expected)


def test_frozen_stages_are_frozen_when_built_and_stay_so():
    encoder = ours(tap=TAP, frozen_stages=1)
    assert encoder.train() is encoder
    frozen = {name for name, p in encoder.named_parameters() if not p.requires_grad}
    assert frozen == {
        n for n, _ in encoder.named_parameters() if n.startswith(('patch_embed', 'stages.0', 'norm0'))
    }
    assert not encoder.stages[0].training and encoder.stages[1].training


def test_layers_for_layer_wise_decay():
    encoder = ours(tap=TAP)
    layers = {name: encoder.layer_of(name) for name, _ in encoder.named_parameters()}
    assert encoder.num_layers == 5
    assert layers['patch_embed.projection.weight'] == layers['patch_embed.norm.bias'] == 0
    assert layers['stages.0.blocks.1.attn.w_msa.qkv.weight'] == 2
    assert layers['stages.0.downsample.reduction.weight'] == 2
    assert layers['stages.1.blocks.0.norm1.weight'] == 3
    assert layers['stages.2.blocks.1.ffn.layers.1.weight'] == 5
    assert layers['norm2.weight'] == layers['stages.0.blocks.0.dilation_predictor.proj.0.weight'] == 6
    no_decay = [name for name in layers if encoder.has_no_decay(name)]
    assert no_decay == [name for name in layers if 'relative_position_bias_table' in name]
    assert len(no_decay) == 5


def test_it_exports():
    encoder = ours(tap=TAP).eval()
    picture = picture_of(50, 70, dtype=torch.float32)
    exported = torch.export.export(encoder, (picture,)).module()
    other = picture.flip(3)
    with torch.no_grad():
        for own, reference in zip(exported(other), encoder(other), strict=True):
            torch.testing.assert_close(own, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(arch='huge'), 'tiny, small, base, large'),
        (dict(arch=3), 'arch=3: one of tiny'),
        (dict(arch=dict(embed_dim=8)), 'embed_dims, depths, num_heads, window_size'),
        (dict(arch=dict(TINY, depths=(1, 1))), 'one number a stage'),
        (dict(arch=dict(TINY, depths=2)), 'depths=2, .*one number a stage'),
        (
            dict(arch=dict(TINY, num_heads=(1, 3, 4))),
            'num_heads=3 in stage 1: it must divide the 16 channels',
        ),
        (dict(window_size=0), 'window_size=0: it must be a whole number, 1 or more'),
        (dict(window_size=-7), 'window_size=-7'),
        (dict(window_size=3.5), 'window_size=3.5'),
        (dict(out_indices=(3,)), 'the stages are 0 to 2'),
        (dict(out_indices=()), 'the stages are 0 to 2'),
        (dict(frozen_stages=4), '-1 for none, or 0 to 3'),
        (dict(tap=dict(branches=4)), 'num_branches'),
        (dict(pretrained='a.pth', init_cfg=dict(type='Pretrained', checkpoint='a.pth')), 'one way'),
        (dict(init_cfg=dict(type='Xavier')), "dict\\(type='Pretrained', checkpoint=FILE\\)"),
        (dict(attn_drop_rate=1.5), '1.5'),
    ],
)
def test_a_wrong_option_says_what_is_valid(changes, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='TAPSwin', arch=TINY, out_indices=(0, 1, 2)) | changes)


def test_it_is_an_mmseg_encoder():
    assert isinstance(ours(), SwinTransformer)
    with pytest.raises(TypeError, match=r'patch_norm.*valid: arch, tap'):
        ours(patch_norm=True)
