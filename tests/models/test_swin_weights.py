"""Swin's weights under mmseg's names, timm's and the original's: all start the encoder; what fits no form is named."""

import pytest
import torch
from timm.models import SwinTransformer as TimmSwin

from mmseg_tapadl.models.backbones.swin_weights import to_mmseg_keys
from tests.models.builders import build
from tests.models.test_tap_swin import TAP, TINY, mmseg_swin, ours, picture_of, randomise

# Four stages whose grids at 128 pixels a side are whole windows and more than one: there mmseg's and timm's function agree.
FOUR = dict(embed_dims=8, depths=(2, 1, 2, 2), num_heads=(1, 2, 4, 4), window_size=2)
SIDES = (128, 128)


def timm_swin(arch=FOUR, img_size=SIDES) -> TimmSwin:
    """timm's own encoder of these sizes, with made-up weights."""
    model = TimmSwin(
        img_size=img_size,
        window_size=arch['window_size'],
        embed_dim=arch['embed_dims'],
        depths=arch['depths'],
        num_heads=arch['num_heads'],
        strict_img_size=False,
    ).double()
    randomise(model)
    return model.eval()


def original_form(weights: dict) -> dict:
    """timm's weights as the original release stores them: halving with the stage before, buffers beside them."""
    renamed = {}
    for key, value in weights.items():
        parts = key.split('.')
        if 'downsample' in parts:
            parts[1] = str(int(parts[1]) - 1)
        renamed['.'.join(parts).replace('head.fc.', 'head.')] = value
    for key in list(renamed):
        if key.endswith('relative_position_bias_table'):
            renamed[key.replace('bias_table', 'index')] = torch.zeros(1, 1, dtype=torch.long)
            renamed[key.replace('relative_position_bias_table', 'attn_mask')] = torch.zeros(4, 1, 1)
    return {'model': renamed}


def started(path, arch=FOUR, **changes):
    """Our encoder, started from a file as ``--pretrained`` does."""
    start = dict(type='Pretrained', checkpoint=str(path))
    encoder = ours(arch, init_cfg=start, **changes).double()
    encoder.init_weights()
    return encoder.eval()


@pytest.mark.parametrize('form', ['timm', 'original', 'compiled', 'features'])
def test_weights_of_timm_and_of_the_original_are_the_same_function(form, tmp_path):
    theirs = timm_swin()
    weights = theirs.state_dict()
    if form == 'original':
        weights = original_form(weights)
    elif form == 'features':
        weights = {
            key.replace('layers.', 'layers_'): value for key, value in weights.items() if 'head' not in key
        }
    elif form == 'compiled':
        weights = {'state_dict': {f'module._orig_mod.{key}': value for key, value in weights.items()}}
    torch.save(weights, tmp_path / 'swin.pth')
    encoder = started(tmp_path / 'swin.pth')
    picture = picture_of(*SIDES)
    with torch.no_grad():
        expected = theirs.forward_intermediates(picture, intermediates_only=True)
        # A classifier has no norms for features; mmseg's start as those that norm alone.
        normed = [
            torch.nn.functional.layer_norm(f.movedim(1, 3), f.shape[1:2]).movedim(3, 1) for f in expected
        ]
        for own, reference in zip(encoder(picture), normed, strict=True):
            torch.testing.assert_close(own, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('wrapped', ['', 'module.'])
@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
def test_a_checkpoint_of_mmseg_loads_unchanged(prefix, wrapped, tmp_path):
    theirs = mmseg_swin().double()
    randomise(theirs)
    theirs.eval()
    weights = {
        f'{prefix}{key.replace("blocks.1.", f"blocks.1.{wrapped}")}': value
        for key, value in theirs.state_dict().items()
    }
    if prefix:
        weights[f'{prefix.removesuffix("backbone.")}decode_head.conv_seg.weight'] = torch.zeros(2, 2)
    torch.save(dict(meta={}, state_dict=weights), tmp_path / 'swin.pth')
    encoder = started(tmp_path / 'swin.pth', TINY)
    with torch.no_grad():
        for own, reference in zip(encoder(picture_of(50, 61)), theirs(picture_of(50, 61)), strict=True):
            torch.testing.assert_close(own, reference, rtol=1e-9, atol=1e-9)


def test_another_window_is_resampled_as_mmseg_does(tmp_path):
    theirs = mmseg_swin(dict(TINY, window_size=5))
    randomise(theirs)
    torch.save(theirs.state_dict(), tmp_path / 'swin.pth')
    reference = mmseg_swin(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'swin.pth')))
    saved = dict(theirs.state_dict())
    # mmseg stops at the index of the other window, which follows from the sizes.
    torch.save({k: v for k, v in saved.items() if 'position_index' not in k}, tmp_path / 'swin.pth')
    reference.init_weights()
    torch.save(saved, tmp_path / 'swin.pth')
    encoder = started(tmp_path / 'swin.pth', TINY).float()
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(encoder.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_weights_without_tap_start_a_model_with_tap_as_nearly_the_same_function(tmp_path):
    theirs = ours().double().eval()
    torch.save(theirs.state_dict(), tmp_path / 'swin.pth')
    encoder = started(tmp_path / 'swin.pth', TINY, tap=TAP)
    with torch.no_grad():
        for own, reference in zip(encoder(picture_of(64, 64)), theirs(picture_of(64, 64)), strict=True):
            assert (own - reference).std() < 0.05 * reference.std()


def without(weights, name):
    return {key: value for key, value in weights.items() if key != name}


QKV = 'stages.1.blocks.0.attn.w_msa.qkv.weight'
TABLE = 'stages.0.blocks.1.attn.w_msa.relative_position_bias_table'
FAULTS = {
    'missing': (lambda w: without(w, QKV), rf'1 missing: {QKV} \(48, 16\)'),
    'unknown': (lambda w: w | {'stages.0.extra': torch.zeros(2)}, r'1 unknown: stages\.0\.extra'),
    'shape': (lambda w: w | {QKV: torch.zeros(48, 8)}, rf'{QKV} \(48, 8\) for \(48, 16\)'),
    'no window': (lambda w: w | {TABLE: torch.zeros(36, 1)}, rf"'{TABLE}' is \(36, 1\); expected \(49, 1\)"),
    'heads': (lambda w: w | {TABLE: torch.zeros(81, 2)}, rf"'{TABLE}' is \(81, 2\); expected \(49, 1\)"),
    'no form': (
        lambda w: {'blocks.0.attn.qkv.weight': torch.zeros(3, 3)},
        "no Swin: 'patch_embed.proj.weight' is missing",
    ),
    'empty': (lambda w: {}, 'no Swin'),
    'an unknown name of timm': (
        lambda w: timm_swin(TINY).state_dict() | {'layers.0.extra': torch.zeros(2)},
        r'1 unknown: stages\.0\.extra',
    ),
    'downsampling of timm': (
        lambda w: timm_swin(TINY).state_dict() | {'layers.1.downsample.norm.weight': torch.zeros(30)},
        r"'layers\.1\.downsample\.norm\.weight' is \(30,\)",
    ),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_what_fits_no_form_is_named_and_nothing_is_loaded(fault, tmp_path):
    change, message = FAULTS[fault]
    path = tmp_path / 'swin.pth'
    torch.save(dict(state_dict=change(mmseg_swin().state_dict())), path)
    encoder = ours(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(ValueError, match=message) as caught:
        encoder.init_weights()
    assert str(path) in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_weights_of_another_size_are_refused(tmp_path):
    torch.save(mmseg_swin(dict(TINY, embed_dims=16)).state_dict(), tmp_path / 'swin.pth')
    with pytest.raises(
        ValueError, match=r'of another shape: patch_embed\.projection\.weight \(16, 3, 4, 4\) for \(8,'
    ):
        started(tmp_path / 'swin.pth', TINY)


def test_weights_with_more_norms_than_features_are_asked_for_are_taken(tmp_path):
    theirs = mmseg_swin().double()
    torch.save(theirs.state_dict(), tmp_path / 'swin.pth')
    encoder = started(tmp_path / 'swin.pth', TINY, out_indices=(2,))
    assert torch.equal(encoder.norm2.weight, theirs.norm2.weight)
    (feature,) = encoder(picture_of(40, 40))
    assert feature.shape == (2, 32, 3, 3)


def test_mmsegs_names_are_returned_as_they_are():
    weights = mmseg_swin().state_dict()
    assert to_mmseg_keys(weights) == dict(weights)


def test_without_weights_it_is_initialised_as_mmseg_does():
    encoder = build(dict(type='TAPSwin', arch=TINY, out_indices=(0, 1, 2), tap=TAP))
    encoder.init_weights()
    weight = encoder.stages[0].blocks[0].ffn.layers[1].weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.2)
