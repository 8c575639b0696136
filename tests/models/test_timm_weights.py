"""Where a vision transformer of timm starts from: files in timm's keys, whole segmenters, timm's own weights."""

import copy
import shutil

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from mmseg_tapadl.models import TimmViT
from mmseg_tapadl.utils import InputError

SMALL = 'test_vit'


@pytest.fixture(scope='module')
def own() -> nn.Module:
    """timm's model, whose weights stand in the files."""
    torch.manual_seed(1)
    return timm.create_model(SMALL)


def behind(prefix: str, weights: dict) -> dict:
    return {f'{prefix}{key}': value for key, value in weights.items()}


def check_taken(encoder: TimmViT, own: nn.Module) -> None:
    for key, value in encoder.model.state_dict().items():
        if '.dilation_predictor.' not in key:
            assert torch.equal(value, own.state_dict()[key]), key


def test_nothing_is_read_before_training_starts(tmp_path, own):
    path = tmp_path / 'weights.safetensors'
    encoder = TimmViT(SMALL, pretrained=str(path), tap=dict(num_branches=4), out_indices=(3, 5))
    save_file(own.state_dict(), path)
    encoder.init_weights()
    check_taken(encoder, own)


FORMS = {
    'bare': lambda weights: weights,
    'as DeiT was released': lambda weights: {'model': weights},
    'data parallel': lambda weights: {'state_dict': behind('module.', weights)},
    'a compiled trainer': lambda weights: {'state_dict': behind('model._orig_mod.', weights)},
    'a whole segmenter': lambda weights: {
        'state_dict': behind('backbone.model.', weights) | {'decode_head.conv_seg.weight': torch.zeros(3)}
    },
    'a whole segmenter, data parallel': lambda weights: {'state_dict': behind('module.backbone.model.', weights)},
}  # fmt: skip


@pytest.mark.parametrize('form', FORMS)
def test_weights_are_found_in_files_of_any_form(tmp_path, own, form):
    torch.save(FORMS[form](own.state_dict()), tmp_path / 'weights.pth')
    encoder = TimmViT(SMALL, pretrained=str(tmp_path / 'weights.pth'), out_indices=(1, 3))
    encoder.init_weights()
    check_taken(encoder, own)


def test_pooling_is_taken_from_a_segmenter_that_has_the_same(tmp_path):
    first, same, other = (TimmViT(SMALL, tap=dict(num_branches=k), out_indices=(1,)) for k in (4, 4, 3))
    for key, parameter in first.named_parameters():
        if '.dilation_predictor.' in key:
            nn.init.normal_(parameter)
    torch.save(behind('backbone.', first.state_dict()), tmp_path / 'trained.pth')
    for encoder in (same, other):
        encoder.pretrained = str(tmp_path / 'trained.pth')
        encoder.init_weights()
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in same.state_dict().items())
    assert torch.equal(other.model.pos_embed, first.model.pos_embed)


def test_positions_of_another_grid_are_resampled_as_timm_does(tmp_path):
    other = timm.create_model(SMALL, img_size=96)
    torch.save(other.state_dict(), tmp_path / 'small.pth')
    encoder = TimmViT(SMALL, pretrained=str(tmp_path / 'small.pth'), out_indices=(0,))
    encoder.init_weights()
    expected = timm.layers.resample_abs_pos_embed(other.pos_embed, new_size=(10, 10), num_prefix_tokens=1)
    torch.testing.assert_close(encoder.model.pos_embed, expected)


OTHERS = {
    'another width': (
        lambda weights: timm.create_model('test_vit3').state_dict(),
        r'25 of another shape: pos_embed \(1, 101, 96\) for \(1, 101, 64\)',
    ),
    'without norms': (
        lambda weights: {key: value for key, value in weights.items() if 'norm' not in key},
        r'8 missing: blocks\.0\.norm1\.weight',
    ),
    'with layer scales': (
        lambda weights: weights | {'blocks.1.ls1.gamma': torch.ones(64)},
        r'1 with no place here: blocks\.1\.ls1\.gamma',
    ),
    'of more blocks': (
        lambda weights: weights | {'blocks.6.norm1.weight': torch.ones(64)},
        r'1 with no place here: blocks\.6\.norm1\.weight',
    ),
    'patches of another size': (
        lambda weights: weights | {'patch_embed.proj.weight': torch.ones(64, 3, 14, 14)},
        r'1 of another shape: patch_embed\.proj\.weight \(64, 3, 14, 14\) for \(64, 3, 16, 16\)',
    ),
    'with registers': (
        lambda weights: weights | {'reg_token': torch.ones(1, 4, 64)},
        r'1 with no place here: reg_token',
    ),
    'something else': (lambda weights: {'conv.weight': torch.zeros(2)}, 'missing: cls_token'),
}


@pytest.mark.parametrize('kind', OTHERS)
def test_weights_of_another_model_are_refused_and_nothing_changes(tmp_path, own, kind):
    make, message = OTHERS[kind]
    torch.save(make(own.state_dict()), tmp_path / 'other.pth')
    encoder = TimmViT(SMALL, pretrained=str(tmp_path / 'other.pth'), out_indices=(0, 1))
    before = copy.deepcopy(encoder.state_dict())
    with pytest.raises(InputError, match=rf'other\.pth.*weights of another model: .*{message}'):
        encoder.init_weights()
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(pretrained='no/such.pth'), r'no/such\.pth: no such file \(nor .* tags: r160_in1k\)'),
        (dict(pretrained='r160'), 'r160: no such file'),
        (dict(init_cfg=dict(type='Kaiming')), 'Pretrained'),
        (dict(init_cfg=[dict(type='Pretrained')]), 'Pretrained'),
        (dict(model='test_vit4', pretrained=True), "timm has no weights of 'test_vit4'"),
    ],
)
def test_a_source_that_is_none_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        TimmViT(**{'model': SMALL, **arguments}).init_weights()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that nobody answers for, and an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:9')
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / 'cache'


@pytest.mark.parametrize('pretrained', [True, 'r160_in1k', f'{SMALL}.r160_in1k'])
def test_without_a_network_timms_weights_are_refused_in_one_line(hub, pretrained, capfd):
    encoder = TimmViT(SMALL, pretrained=pretrained)
    with pytest.raises(
        InputError, match=r'no way to http://127\.0\.0\.1:9 .*give pretrained=FILE$'
    ) as caught:
        encoder.init_weights()
    assert '\n' not in str(caught.value)
    assert capfd.readouterr().err == ''  # nor the hub's own tries


def test_weights_in_timms_cache_need_no_network(hub, own):
    folder = hub / 'models--timm--test_vit.r160_in1k'
    (folder / 'snapshots' / 'one').mkdir(parents=True)
    (folder / 'refs').mkdir()
    (folder / 'refs' / 'main').write_text('one')
    save_file(own.state_dict(), hub / 'weights')
    shutil.move(hub / 'weights', folder / 'snapshots' / 'one' / 'model.safetensors')
    encoder = TimmViT(SMALL, pretrained=True)
    encoder.init_weights()
    check_taken(encoder, own)
