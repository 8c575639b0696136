"""Freezing parts of every encoder: no gradients, evaluation mode that stays, no optimizer state, ADL that still reaches."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_tapadl.layers import AttentionWatch, TokenAwareAvgPool, WatchableAttention
from mmseg_tapadl.layers.freezing import freeze
from mmseg_tapadl.models.segmentors.frozen_encoder import freeze_encoder
from mmseg_tapadl.utils import InputError
from tests.models.builders import TINY_ARCH, batch, build, build_segmentor, sharpen_attention
from tests.models.encoder_cases import CASES, ENCODERS, cases_that_support

LAYERED = [case for case in CASES if case.values[0].name != 'documented-ViT']
PICTURES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def trainable(encoder) -> set[str]:
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


def in_pooling(encoder) -> set[str]:
    return {name for name, _ in encoder.named_parameters() if '.dilation_predictor.' in name}


def state_after_a_step(encoder) -> tuple[dict, dict, int]:
    """The state before and after a training step in training mode, and how many parameters the optimizer remembers."""
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    optimizer = build_optim_wrapper(
        encoder, dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.1))
    ).optimizer
    encoder.train(False)
    encoder.train(True)
    sum(feature.square().mean() for feature in encoder(PICTURES)).backward()
    optimizer.step()
    return before, encoder.state_dict(), len(optimizer.state)


@pytest.mark.parametrize(('case', 'config'), CASES)
def test_a_frozen_encoder_stays_as_it_is_in_whatever_mode_its_model_is(case, config):
    encoder = build(config)
    freeze(encoder, 'encoder')
    assert trainable(encoder) == set()
    for mode in (True, False, True):
        encoder.train(mode)
        assert not any(module.training for module in encoder.modules() if module is not encoder.frozen_parts0)
    with torch.no_grad():
        once, again = encoder(PICTURES), encoder(PICTURES)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    # The same weights under the same names, so that files fit with and without it.
    assert list(encoder.state_dict()) == list(build(config).state_dict())


@pytest.mark.parametrize(('case', 'config'), cases_that_support('tap'))
def test_all_but_tap_trains_tap_alone(case, config):
    encoder = build({**config, 'tap': dict(num_branches=3)})
    freeze(encoder, 'encoder-but-tap')
    assert trainable(encoder) == in_pooling(encoder) != set()
    before, after, remembered = state_after_a_step(encoder)
    moved = {key for key in after if not torch.equal(before[key], after[key])}
    assert remembered == len(in_pooling(encoder))
    assert moved and all('.dilation_predictor.' in key for key in moved)


@pytest.mark.parametrize(('case', 'config'), LAYERED)
@pytest.mark.parametrize('what', ['stem', '1'])
def test_stem_and_blocks(case, config, what):
    encoder = build(config)
    freeze(encoder, what)
    last = 0 if what == 'stem' else int(what)
    frozen = {name for name, _ in encoder.named_parameters() if encoder.block_of(name) <= last}
    assert {encoder.block_of(name) for name in frozen} == set(range(last + 1))
    assert trainable(encoder) == {name for name, _ in encoder.named_parameters()} - frozen
    before, after, remembered = state_after_a_step(encoder)
    moved = {key for key in after if not torch.equal(before[key], after[key])}
    # Weights and running statistics alike.
    assert not {
        key for key in moved if key.rpartition('.')[0] in {name.rpartition('.')[0] for name in frozen}
    }
    assert moved and remembered <= len(trainable(encoder))
    norms = [(n, m) for n, m in encoder.named_modules() if isinstance(m, _BatchNorm)]
    assert {m.training for n, m in norms if f'{n}.weight' in frozen} <= {False}
    assert {m.training for n, m in norms if f'{n}.weight' not in frozen} <= {True}


@pytest.mark.parametrize(('case', 'config'), LAYERED)
def test_blocks_are_numbered_without_a_gap_and_in_the_order_of_the_forward_pass(case, config):
    encoder = build(config)
    numbers = [encoder.block_of(name) for name, _ in encoder.named_parameters()]
    assert set(numbers) - {encoder.num_blocks + 1} == set(range(encoder.num_blocks + 1))
    # Whatever is left to train gets a gradient, which training in several processes demands.
    for count in range(1, encoder.num_blocks + 1):
        other = build(config)
        freeze(other, count)
        other.eval()
        total = sum(feature.sum() for feature in other(PICTURES))
        if total.requires_grad:
            total.backward()
        assert {name for name, p in other.named_parameters() if p.grad is not None} == trainable(other)
    with pytest.raises(InputError, match=f"has {encoder.num_blocks} blocks; 'encoder' freezes all of it"):
        freeze(encoder, encoder.num_blocks + 1)


@pytest.mark.parametrize(('case', 'config'), cases_that_support('tap', 'with_cp'))
@pytest.mark.parametrize('what', ['encoder-but-tap', 'stem', 1])
def test_the_loss_on_attention_still_sees_what_reaches_a_weight(case, config, what):
    gradients = []
    for with_cp in (False, True):
        encoder = build({**config, 'tap': dict(num_branches=3), 'with_cp': with_cp})
        sharpen_attention(encoder)
        freeze(encoder, what)
        watch = AttentionWatch(encoder)
        encoder.train()
        with watch.listening() as similarities:
            features = encoder(PICTURES)
        assert len(similarities) == case.num_attentions
        torch.manual_seed(0)
        (sum(s.mean() for s in similarities) + sum(f.mean() for f in features)).backward()
        gradients.append({n: p.grad for n, p in encoder.named_parameters() if p.grad is not None})
        assert gradients[-1] and set(gradients[-1]) <= trainable(encoder)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_a_copy_keeps_its_own_parts_in_evaluation_mode():
    model = build_segmentor()
    freeze_encoder(model, 'stem')
    twin = copy.deepcopy(model)
    twin.train()
    assert not twin.backbone.patch_embed.training and twin.backbone.blocks[0].training
    kept = {id(module) for module in twin.backbone.frozen_parts0.kept}
    assert kept <= {id(module) for module in twin.modules()}


def test_dropped_paths_and_dropout_of_frozen_blocks_rest():
    encoder = build(dict(type='FAN', arch=TINY_ARCH, drop_path_rate=0.5))
    freeze(encoder, encoder.num_blocks)
    encoder.train()
    with torch.no_grad():
        once, again = encoder(PICTURES), encoder(PICTURES)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert all(m.training for m in encoder.modules() if isinstance(m, WatchableAttention))


@pytest.mark.parametrize('what', ['encoder', 5])
def test_a_loss_that_then_reaches_no_weight_says_how_to_switch_it_off(what):
    model = build_segmentor()
    assert model.backbone.num_blocks == 5
    with pytest.raises(InputError, match=r'--cfg-options model\.loss_attention=None'):
        freeze_encoder(model, what)
    freeze_encoder(build_segmentor(loss_attention=None), what)


def test_the_head_trains_and_the_loss_on_attention_moves_tap():
    model = build_segmentor()
    freeze_encoder(model, 'encoder-but-tap')
    model.train()
    losses = model.loss(*batch(2))
    assert losses['loss_adl'] > 0
    losses['loss_adl'].backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved and all('.dilation_predictor.' in name for name in moved)


@pytest.mark.parametrize(
    ('what', 'message'),
    [
        (
            'backbone',
            r"freeze='backbone': must be 'encoder', 'encoder-but-tap', 'stem' or a number of blocks",
        ),
        (0, 'freeze=0: must be'),
        (-1, 'freeze=-1: must be'),
        ('0', "freeze='0': must be"),
        (1.5, 'freeze=1.5: must be'),
        (True, 'freeze=True: must be'),
        ('', "freeze='': must be"),
        (99, 'freeze=99: FAN has 5 blocks'),
    ],
)
def test_what_names_no_part_is_named(what, message):
    with pytest.raises(InputError, match=message):
        freeze(build(dict(type='FAN', arch=TINY_ARCH)), what)


def test_all_but_tap_without_tap_is_named():
    for tap in (None, dict(num_branches=1)):
        with pytest.raises(
            InputError, match=r"FAN has no TAP that could train \(tap=None\): write 'encoder'"
        ):
            freeze(build(dict(type='FAN', arch=TINY_ARCH, tap=tap)), 'encoder-but-tap')


def test_an_encoder_that_does_not_tell_its_blocks_can_be_frozen_whole_only():
    (stranger,) = (case for case in ENCODERS if case.name == 'documented-ViT')
    with pytest.raises(
        InputError, match=r"WatchedViT does not tell its blocks .* 'encoder' freezes any encoder"
    ):
        freeze(build(stranger.config), 3)
    resnet = MODELS.build(dict(type='ResNet', depth=18))
    freeze(resnet, 'encoder')
    resnet.train()
    assert not any(m.training for m in resnet.modules() if isinstance(m, (_BatchNorm, TokenAwareAvgPool)))


@pytest.mark.parametrize(('case', 'config'), LAYERED)
def test_layer_wise_decay_knows_the_layers_of_every_encoder(case, config):
    model = nn.Module()
    model.backbone = build(config)
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
            constructor='EncoderLayerDecayConstructor',
            paramwise_cfg=dict(decay_rate=0.5),
        ),
    )
    groups = wrapper.optimizer.param_groups
    rates = {name.removeprefix('backbone.'): group['lr'] for group in groups for name in group['param_names']}
    top = model.backbone.num_blocks + 1
    assert rates == {
        name: 1.0 if '.dilation_predictor.' in name else 0.5 ** (top - model.backbone.block_of(name))
        for name in trainable(model.backbone)
    }
    assert 0.5**top in rates.values()
