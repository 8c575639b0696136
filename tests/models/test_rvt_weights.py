"""Files of RVT: the structure is read from the keys, every key is accounted for, and nothing is half-loaded."""

import argparse
import copy

import pytest
import torch
from mmengine.config import Config

from mmseg_tapadl.checkpoints.checkpoint_io import write_checkpoint
from mmseg_tapadl.models.backbones import RVT
from mmseg_tapadl.models.released_weights import WrongWeightsError, convert_released
from mmseg_tapadl.models.released_weights.usage import rvt_options
from mmseg_tapadl.utils.errors import InputError
from tests.models.builders import build
from tests.references.released_rvt import RELEASED, ReleasedRVT, rvt_shapes, rvt_weights

SMALL = ReleasedRVT((8, 16), (2, 1), (2, 2))
SMALLER_GRID = ReleasedRVT((8, 16), (2, 1), (2, 2), side=4)
FORM = dict(paas=(0, 1), branches=3)
ARCH = dict(embed_dims=(8, 16), depths=(2, 1), num_heads=(2, 2), feature_blocks=(0, 2), paas_blocks=(0, 1))


def shapes_only(size: str, **form) -> dict[str, torch.Tensor]:
    """A released file's names and shapes, without memory."""
    shapes = rvt_shapes(RELEASED[size], **form)
    return {name: torch.empty(shape, device='meta') for name, shape in shapes.items()}


def timm_file(weights: dict, ema: dict | None = None, prefix: str = '') -> dict:
    """What timm's trainer writes."""
    parts = {'state_dict': weights} | ({} if ema is None else {'state_dict_ema': ema})
    named = {key: {prefix + name: value for name, value in part.items()} for key, part in parts.items()}
    return {'epoch': 299, 'arch': 'rvt', 'args': argparse.Namespace(lr=2e-3), **named}


def encoder(tap: int | None = 3, *, init: object = None, **options) -> RVT:
    """The tiny encoder, two features."""
    start = {} if init is None else dict(init_cfg=dict(type='Pretrained', checkpoint=str(init)))
    tap = None if tap is None else dict(num_branches=tap)
    options.setdefault('out_indices', (0, 1))
    return build(dict(type='RVT', arch=dict(ARCH), tap=tap, **options, **start))


@pytest.mark.parametrize(
    ('size', 'form', 'arch', 'words'),
    [
        ('tiny', dict(), 'tiny', 'conv feed-forward, without PAAS, without TAP'),
        (
            'tiny',
            dict(paas=range(10), branches=4),
            'tiny_plus',
            'PAAS in blocks 0 to 9, with TAP (num_branches=4)',
        ),
        ('small', dict(paas=range(5)), 'small_plus', 'conv feed-forward, PAAS in blocks 0 to 4'),
        (
            'small',
            dict(paas=(0, 7), branches=1),
            'small_plus',
            'PAAS in blocks 0, 7, with TAP (num_branches=1)',
        ),
        ('base', dict(feed_forward='plain'), 'base', 'plain feed-forward, without PAAS'),
        ('base', dict(paas=range(5), branches=4), 'base_plus', 'conv feed-forward'),
        # The file of 92.1 M parameters that the paper's README speaks of.
        (
            'base',
            dict(feed_forward='plain', paas=range(12), branches=4),
            'base_plus',
            'PAAS in blocks 0 to 11',
        ),
    ],
)
def test_the_structure_is_read_from_the_keys(repo_root, size, form, arch, words):
    conversion = convert_released({'model': shapes_only(size, **form)})
    assert words in conversion.report()
    meta = conversion.checkpoint()['meta']
    assert meta['arch'] == arch
    assert meta['num_branches'] == form.get('branches')
    assert meta['feed_forward'] == form.get('feed_forward', 'conv')
    assert meta['paas_blocks'] == list(form.get('paas', ()))
    assert conversion.used.keys() | conversion.dropped.keys() == rvt_shapes(RELEASED[size], **form).keys()
    assert set(conversion.dropped) == {'head.weight', 'head.bias'}
    # The printed options make the model that the weights fill.
    cfg = Config.fromfile(repo_root / 'configs' / 'rvt_tapadl_cityscapes.py')
    options = dict(option.strip("'").split('=', 1) for option in rvt_options(conversion.source))
    cfg.merge_from_dict({key: parsed(value) for key, value in options.items()})
    with torch.device('meta'):
        backbone = build({**cfg.model.backbone, 'norm_cfg': dict(type='BN')})
    own = backbone.own_weights(conversion.checkpoint(), 'converted')
    assert {name for name in backbone.state_dict() if name not in own} == (
        set() if 'branches' in form else {n for n in backbone.state_dict() if '.dilation_predictor.' in n}
    )
    assert cfg.model.decode_head.in_channels == backbone.feature_channels


def parsed(value: str):
    """As mmengine reads the value of ``--cfg-options``."""
    from mmengine.config import DictAction

    return DictAction._parse_iterable(value)


def test_the_containers_are_told_apart():
    last, averaged = rvt_weights(RELEASED['tiny'], seed=1), rvt_weights(RELEASED['tiny'], seed=2)
    name = 'transformers.1.blocks.1.mlp.fc2.weight'
    for checkpoint, use_ema, expected, words in [
        (timm_file(last, averaged), True, averaged, 'averaged'),
        (timm_file(last, averaged, 'module.'), True, averaged, "behind 'module.'"),
        (timm_file(last, averaged), False, last, 'RVT tiny'),
        (timm_file(last), True, last, 'RVT tiny'),
        ({'model': last, 'epoch': 3}, True, last, 'RVT tiny'),
        (last, True, last, 'RVT tiny'),
    ]:
        conversion = convert_released(checkpoint, use_ema=use_ema)
        assert torch.equal(conversion.state_dict[name], expected[name])
        assert words in conversion.report()
        assert conversion.source.from_ema == (expected is averaged)
    with pytest.raises(WrongWeightsError, match='converted already'):
        convert_released(conversion.checkpoint())


def without(part):
    return lambda w: [w.pop(name) for name in list(w) if part in name]


def reshaped(name, *shape):
    return lambda w: w.update({name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (
            without('0.blocks.1.attn.qkv.weight'),
            ['1 missing', 'transformers.0.blocks.1.attn.qkv.weight [576, 192]'],
        ),
        (without('transformers.0.blocks.0.attn.qkv.weight'), ['1 missing']),
        (without('transformers.0.blocks.4.'), ['transformers.0.blocks.4.* is missing', 'every block']),
        (
            reshaped('transformers.999999999999.blocks.0.norm1.weight', 3),
            ['transformers.2.blocks.0.* is missing', 'every stage'],
        ),
        (without('transformers.0.'), ['transformers.0.blocks.0.* is missing']),
        (without('transformers.1.'), ['no released size', 'tiny: [192, 384] x [10, 2]']),
        (without('pools.0'), ['2 missing', 'pools.0.conv.weight [384, 1, 3, 3]']),
        (without('head'), ['converted already']),
        (
            without('blocks.3.dilation_predictor'),
            ['transformers.0.blocks.3.dilation_predictor.proj.0.weight', 'expected 4'],
        ),
        (
            reshaped('transformers.0.blocks.2.dilation_predictor.proj.0.weight', 3, 192, 3, 3),
            ['transformers.0.blocks.2.dilation_predictor.proj.0.weight: 3 here, expected 4'],
        ),
        (
            reshaped('transformers.0.blocks.2.mlp.fc1.weight', 768, 192),
            ['transformers.0.blocks.2.mlp.fc1.weight: plain here, expected conv'],
        ),
        (
            reshaped('transformers.0.blocks.2.mlp.fc1.weight', 768, 192, 1),
            ['transformers.0.blocks.2.mlp.fc1.weight is [768, 192, 1]; expected 2 or 4 axes'],
        ),
        (
            reshaped('transformers.0.blocks.1.attn.att_mask', 6, 256, 256),
            ['transformers.0.blocks.1.attn.att_mask is [6, 256, 256]', 'expected [heads, 196, 196]'],
        ),
        (
            reshaped('transformers.0.blocks.1.attn.att_mask', 8, 196, 196),
            ['transformers.0.blocks.1.attn.att_mask is [8, 196, 196], expected [6, 196, 196]'],
        ),
        (
            reshaped('transformers.1.blocks.0.attn.att_mask', 12, 196, 196),
            ['transformers.1.blocks.0.attn.att_mask', 'first stage only'],
        ),
        (
            reshaped('transformers.0.blocks.0.attn.proj.weight', 192),
            ['attn.proj.weight is [192]; expected 2 axes'],
        ),
        (reshaped('pos_embed', 1, 196, 192), ['1 unknown', 'pos_embed', '--allow-unknown']),
    ],
)
def test_what_fits_no_form_is_named_with_what_was_expected(spoil, words):
    weights = shapes_only('tiny', paas=range(10), branches=4)
    spoil(weights)
    with pytest.raises(WrongWeightsError) as error:
        convert_released({'state_dict': weights})
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize('kind', ['timm', 'module', 'authors', 'converted', 'segmenter', 'bare', 'blocks'])
def test_training_starts_from_a_released_and_from_a_converted_file(tmp_path, kind):
    weights = rvt_weights(SMALL, seed=1, **FORM)
    own = {name: value for name, value in weights.items() if not name.startswith('head.')}
    other = rvt_weights(SMALL, seed=2, **FORM)
    checkpoint = {
        'timm': timm_file(other, weights),
        'module': timm_file(weights, prefix='module.'),
        'authors': {'model': weights, 'optimizer': {}, 'epoch': 9},
        'converted': {'meta': {}, 'state_dict': own},
        'segmenter': {
            'state_dict': {f'backbone.{n}': v for n, v in own.items()}
            | {'decode_head.conv_seg.bias': torch.zeros(3)}
        },
        'bare': weights,
        'blocks': {name.replace('blocks.0.', 'blocks.0.module.'): value for name, value in weights.items()},
    }[kind]
    checkpoint.pop('args', None)  # a Namespace is no data; the readers' own tests see to it
    write_checkpoint(checkpoint, tmp_path / 'file.pth')
    start = encoder(init=tmp_path / 'file.pth')
    start.init_weights()
    state = start.state_dict()
    assert set(state) == set(own)
    assert all(torch.equal(value.cpu(), own[name]) for name, value in state.items())


def test_a_model_of_another_grid_takes_weights_of_that_grid_only(tmp_path):
    write_checkpoint({'state_dict': rvt_weights(SMALLER_GRID, **FORM)}, tmp_path / 'file.pth')
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'file.pth'))
    arch = dict(ARCH, paas_side=4)
    own = build(dict(type='RVT', arch=arch, tap=dict(num_branches=3), out_indices=(0, 1), init_cfg=start))
    own.init_weights()
    with pytest.raises(
        InputError, match=r'att_mask is \[2, 16, 16\]: PAAS of another grid; expected \[heads, 196, 196\]'
    ):
        encoder(init=tmp_path / 'file.pth').init_weights()


def test_weights_without_tap_start_a_model_with_tap_and_later_blocks_may_stay_in_the_file(tmp_path):
    weights = rvt_weights(SMALL, paas=(0, 1))
    write_checkpoint({'model': weights}, tmp_path / 'file.pth')
    start = encoder(init=tmp_path / 'file.pth', out_indices=(0,))
    before = copy.deepcopy(start.state_dict())
    start.init_weights()
    for name, value in start.state_dict().items():
        expected = before[name].cpu() if '.dilation_predictor.' in name else weights[name]
        assert torch.equal(value.cpu(), expected), name


@pytest.mark.parametrize(
    ('form', 'options', 'words'),
    [
        (
            FORM,
            dict(paas_blocks=(0,)),
            ['transformers.0.blocks.1.attn.att_mask', 'the model is', 'PAAS in blocks 0,'],
        ),
        (dict(branches=3), {}, ['2 missing', 'transformers.0.blocks.0.attn.att_mask [2, 196, 196]']),
        (
            FORM,
            dict(feed_forward='plain'),
            ['mlp.fc1.weight is [32, 8, 1, 1], expected [32, 8]', 'plain feed-forward'],
        ),
        (FORM, dict(tap=None), ['dilation_predictor.proj.0.weight', 'without a place', 'num_branches=3']),
        (FORM, dict(tap=4), ['dilation_predictor.proj.0.weight is [3, 8, 3, 3], expected [4, 8, 3, 3]']),
    ],
)
def test_another_structure_is_refused_and_nothing_is_loaded(tmp_path, form, options, words):
    write_checkpoint({'model': rvt_weights(SMALL, **form)}, tmp_path / 'file.pth')
    start = encoder(init=tmp_path / 'file.pth', **options)
    before = copy.deepcopy(start.state_dict())
    with pytest.raises(InputError) as error:
        start.init_weights()
    assert str(error.value).startswith(f'{tmp_path / "file.pth"}: ')
    assert all(word in str(error.value) for word in words), str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())


@pytest.mark.parametrize(
    ('weights', 'words'),
    [
        ({'conv1.weight': torch.zeros(2)}, "not RVT: it holds 1 weights such as 'conv1.weight'; expected"),
        (
            rvt_weights(ReleasedRVT((8, 16), (2, 1), (2, 2), side=4), **FORM),
            r'\[2, 16, 16\]: PAAS of another grid',
        ),
        (rvt_weights(ReleasedRVT((8, 16), (3, 1), (2, 2)), **FORM), 'transformers.0.blocks.2'),
    ],
)
def test_a_stranger_is_named(tmp_path, weights, words):
    write_checkpoint({'state_dict': weights}, tmp_path / 'file.pth')
    with pytest.raises(InputError, match=words):
        encoder(init=tmp_path / 'file.pth').init_weights()
