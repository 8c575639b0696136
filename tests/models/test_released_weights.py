"""Converted weights compute what the release computes, held against plain formulas in float64.

The formulas and the made-up files (tests/references) know nothing of the product.
"""

import pytest
import torch
from mmengine.config import ConfigDict

from mmseg_tapadl.checkpoints.checkpoint_io import read_checkpoint, write_checkpoint
from mmseg_tapadl.layers import TokenAwareAvgPool
from mmseg_tapadl.models.released_weights import WrongWeightsError, convert_released
from mmseg_tapadl.models.released_weights.usage import config_options
from tests.models.builders import build
from tests.references import released_checkpoints as made_up
from tests.references.released_fan import released_features, released_logits

OFFICIAL = {
    'tapadl_fan_base_segmentation': lambda: made_up.segmentation_file('base_hybrid', 4)['state_dict'],
    'tapadl_fan_base_classification': lambda: made_up.imagenet_file('base_hybrid', 4)['state_dict'],
}


def segmenter(arch: str, num_branches: int | None):
    """The model that a config describes for these weights, in float64 and evaluation."""
    channels = made_up.RELEASED[arch].feature_channels
    tap = None if num_branches is None else dict(num_branches=num_branches)
    config = dict(
        type='AttentionEncoderDecoder',
        backbone=dict(type='FAN', arch=arch, tap=tap, norm_cfg=dict(type='BN')),
        decode_head=dict(type='FANHead', in_channels=channels, num_classes=19, norm_cfg=dict(type='BN')),
        test_cfg=dict(mode='whole'),
    )
    return build(config).eval().double()


def release(weights: dict, arch: str, picture: torch.Tensor, prefix: str = 'backbone.') -> list[torch.Tensor]:
    """The released encoder's features by the plain formulas."""
    sizes = made_up.RELEASED[arch]
    doubles = {name: value.double() for name, value in weights.items()}
    return released_features(
        doubles, picture, depth=sizes.depth, heads=sizes.heads, out_index=sizes.out_index, prefix=prefix
    )


@pytest.mark.parametrize('name', OFFICIAL)
def test_the_made_up_files_have_the_released_names_and_shapes(name):
    shapes = {key: tuple(value.shape) for key, value in OFFICIAL[name]().items()}
    assert shapes == made_up.official_shapes(name)


@pytest.mark.parametrize(
    ('arch', 'num_branches'),
    [
        ('tiny_hybrid', None),
        ('tiny_hybrid', 4),
        ('base_hybrid', None),
        ('base_hybrid', 4),
        ('large_hybrid', None),
        ('large_hybrid', 1),
        ('tiny', 4),
    ],
)
def test_a_converted_segmenter_is_the_same_function(arch, num_branches):
    released = made_up.segmentation_file(arch, num_branches)
    model = segmenter(arch, num_branches)
    model.load_state_dict(convert_released(released).state_dict, strict=True)

    picture = torch.randn(1, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected = release(released['state_dict'], arch, picture)
    weights = {name: value.double() for name, value in released['state_dict'].items()}
    expected_logits = released_logits(weights, expected)
    with torch.no_grad():
        features = model.extract_feat(picture)
        logits = model.decode_head(features)
    assert len(features) == len(expected) == 4
    for feature, reference in zip(features, expected, strict=True):
        assert reference.std() > 0.5  # large enough that 1e-8 says something
        torch.testing.assert_close(feature, reference, rtol=0, atol=1e-8)
    torch.testing.assert_close(logits, expected_logits, rtol=0, atol=1e-8)


def test_every_made_up_weight_that_is_used_matters():
    """Otherwise the comparison above could pass with a quirk undone."""
    weights = made_up.segmentation_file('tiny_hybrid', 4)['state_dict']
    weights = {name: value.double() for name, value in weights.items()}
    used = [
        n for n in convert_released(dict(state_dict=weights)).used if not n.endswith('num_batches_tracked')
    ]
    for name in used:
        weights[name].requires_grad_()
    features = release(weights, 'tiny_hybrid', torch.randn(1, 3, 48, 32, dtype=torch.float64))
    (sum(f.square().sum() for f in features) + released_logits(weights, features).square().sum()).backward()
    silent = [n for n in used if weights[n].grad is None or weights[n].grad.abs().max() < 1e-3]
    # This bias is the same for all tokens, and the softmax that follows runs over the tokens: no effect at all.
    assert silent == [f'backbone.blocks.{i}.mlp.q.bias' for i in range(8)]


@pytest.mark.parametrize(
    ('ema', 'module', 'num_branches'),
    [(True, False, 4), (False, True, 4), (True, True, None), (False, False, None)],
)
def test_an_imagenet_file_starts_an_encoder(tmp_path, ema, module, num_branches):
    released = made_up.imagenet_file('tiny_hybrid', num_branches, ema=ema, module=module)
    torch.save(released, tmp_path / 'released.pth.tar')
    conversion = convert_released(read_checkpoint(tmp_path / 'released.pth.tar'))
    assert conversion.source.from_ema == ema
    assert conversion.source.had_module == module
    write_checkpoint(conversion.checkpoint(), tmp_path / 'ours.pth')

    tap = None if num_branches is None else dict(num_branches=num_branches)
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'))
    encoder = build(dict(type='FAN', arch='tiny_hybrid', tap=tap, init_cfg=start))
    encoder.init_weights()
    encoder.eval().double()
    picture = torch.randn(1, 3, 48, 32, dtype=torch.float64)
    weights = released['state_dict_ema' if ema else 'state_dict']
    expected = release(weights, 'tiny_hybrid', picture, prefix='module.' if module else '')
    with torch.no_grad():
        for feature, reference in zip(encoder(picture), expected, strict=True):
            torch.testing.assert_close(feature, reference, rtol=0, atol=1e-8)


def test_the_last_weights_are_taken_on_demand():
    released = made_up.imagenet_file('tiny_hybrid', 4, ema=True)
    conversion = convert_released(released, use_ema=False)
    assert not conversion.source.from_ema
    name = 'blocks.3.attn.kv.weight'
    assert torch.equal(conversion.state_dict[name], released['state_dict'][name])
    assert not torch.equal(conversion.state_dict[name], released['state_dict_ema'][name])


def test_a_model_pretrained_without_tap_starts_as_nearly_the_same_function(tmp_path):
    conversion = convert_released(made_up.imagenet_file('tiny_hybrid', None))
    write_checkpoint(conversion.checkpoint(), tmp_path / 'ours.pth')
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'))
    plain = build(dict(type='FAN', arch='tiny_hybrid', tap=None, init_cfg=start)).eval()
    pooled = build(dict(type='FAN', arch='tiny_hybrid', tap=dict(num_branches=4), init_cfg=start)).eval()
    plain.init_weights()
    pooled.init_weights()

    identity_weights = []

    def see_weights(module, inputs):
        identity_weights.append(module.proj(inputs[0]).softmax(dim=1)[:, 0].min())

    for module in pooled.modules():
        if isinstance(module, TokenAwareAvgPool):
            module.register_forward_pre_hook(see_weights)
    picture = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        references = plain(picture)
        features = pooled(picture)
    assert len(identity_weights) == 8
    assert min(identity_weights) >= 0.99
    for feature, reference in zip(features, references, strict=True):
        assert (feature - reference).std() < 0.05 * reference.std()

    # The gap of about 6 still leaves a gradient: where averages serve better, TAP leaves the identity soon.
    block = pooled.blocks[0].dilation_predictor.train()
    clean = torch.randn(1, 192, 1, 1).expand(2, 192, 12, 12)
    optimizer = torch.optim.AdamW(block.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        noisy = clean + torch.randn(clean.shape)
        (block(noisy) - clean)[:, :, 3:-3, 3:-3].square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        assert block.proj(noisy).softmax(dim=1)[:, 0].mean() < 0.5


def test_every_key_is_accounted_for():
    released = made_up.segmentation_file('tiny_hybrid', 4)
    conversion = convert_released(released)
    names = set(released['state_dict'])
    assert conversion.used.keys() | conversion.dropped.keys() == names
    assert not conversion.used.keys() & conversion.dropped.keys()
    assert set(conversion.used.values()) == set(conversion.state_dict)
    assert conversion.used['decode_head.linear_pred.weight'] == 'decode_head.conv_seg.weight'
    assert conversion.state_dict['decode_head.conv_seg.weight'].shape == (19, 768, 1, 1)
    assert 'linear_pred' in conversion.dropped['decode_head.conv_seg.weight']
    assert all(conversion.dropped.values())


def test_the_checkpoint_names_its_classes():
    meta = convert_released(made_up.segmentation_file('tiny_hybrid', 4)).checkpoint()['meta']
    assert meta['dataset_meta']['classes'][:2] == ['road', 'sidewalk']
    assert meta['dataset_meta']['palette'][0] == [128, 64, 128]
    assert len(meta['dataset_meta']['classes']) == len(meta['dataset_meta']['palette']) == 19


@pytest.mark.parametrize(
    ('arch', 'num_branches'), [*((arch, 4) for arch in made_up.RELEASED), ('base', None), ('large_hybrid', 1)]
)
def test_size_is_recognised_and_its_options_fit_the_config(arch, num_branches):
    sizes = made_up.RELEASED[arch]
    shapes = made_up.encoder_shapes(sizes, num_branches) | made_up.classifier_shapes(sizes)
    weights = {name: torch.empty(shape, device='meta') for name, shape in shapes.items()}
    conversion = convert_released(dict(state_dict=weights))
    assert (conversion.source.arch, conversion.source.num_branches) == (arch, num_branches)
    config = ConfigDict(
        model=dict(backbone=dict(arch='base_hybrid'), decode_head=dict(in_channels='128,256,448,448'))
    )
    for key, value in (option.split('=') for option in config_options(conversion.source)):
        part, field = key.removeprefix('model.').split('.', 1)
        config.model[part][field] = value
    assert config.model.backbone.arch == arch
    assert config.model.decode_head.in_channels == ','.join(map(str, sizes.feature_channels))


def without(name):
    return lambda weights: weights.pop(name)


def reshaped(name):
    return lambda weights: weights.update({name: weights[name][:-1]})


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (without('blocks.3.attn.kv.weight'), ['1 missing', 'blocks.3.attn.kv.weight [384, 192]']),
        (
            reshaped('blocks.3.attn.kv.bias'),
            ['wrong shape', 'blocks.3.attn.kv.bias is [383], expected [384]'],
        ),
        (lambda w: w.update(extra=torch.zeros(1)), ['1 unknown', 'extra', '--allow-unknown']),
        (without('blocks.0.mlp.temperature'), ['no released size', 'tiny_hybrid: embed_dim 192']),
        (lambda w: w.update(note='text'), ["'note' is a str", 'expected a segmentation checkpoint of FAN']),
        (lambda w: w.clear(), ['empty', 'expected a segmentation checkpoint of FAN']),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected(spoil, words):
    released = made_up.imagenet_file('tiny_hybrid', 4, ema=False)
    spoil(released['state_dict'])
    with pytest.raises(WrongWeightsError) as error:
        convert_released(released)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_unknown_keys_can_be_left_out():
    released = made_up.imagenet_file('tiny_hybrid', 4, ema=False)
    released['state_dict']['extra'] = torch.zeros(1)
    conversion = convert_released(released, allow_unknown=True)
    assert conversion.unknown == ['extra']
    assert 'extra' not in conversion.state_dict
    assert 'extra' in conversion.report()


@pytest.mark.parametrize(
    ('names', 'words'),
    [
        (['conv1.weight', 'layer1.0.bn1.weight'], ['not FAN', "'conv1.weight'"]),
        (['backbone.layers.0.1.0.attn.attn.in_proj_weight'], ['SegFormer', 'needs no conversion']),
        (['block1.0.attn.q.weight'], ['SegFormer', 'mit2mmseg.py']),
    ],
)
def test_another_architecture_is_named(names, words):
    with pytest.raises(WrongWeightsError) as error:
        convert_released(dict(state_dict={name: torch.zeros(2) for name in names}))
    assert all(word in str(error.value) for word in [*words, 'expected']), str(error.value)


def test_a_converted_file_is_recognised_as_such():
    for released in (made_up.segmentation_file('tiny_hybrid', 4), made_up.imagenet_file('tiny_hybrid', 4)):
        with pytest.raises(WrongWeightsError, match='converted already'):
            convert_released(convert_released(released).checkpoint())
