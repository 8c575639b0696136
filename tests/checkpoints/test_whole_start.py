"""Starting from another segmenter: what fits is taken, rows go by the names of classes, the rest is named."""

import pytest
import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import nn

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.checkpoints.whole_start import _CLASSIFIER, start_from_segmenter
from mmseg_tapadl.models.released_weights import converted_if_released
from tests.models.builders import TINY_ARCH, build_segmentor, segmentor_config
from tests.references import released_checkpoints as made_up

THEIRS = ['road', 'sky', 'traffic light', 'car', 'person']


def segmenter(classes: int, seed: int = 0, **changes) -> nn.Module:
    """A tiny FAN segmenter with an auxiliary head."""
    head = {**segmentor_config()['decode_head'], 'num_classes': classes}
    auxiliary = dict(
        type='FCNHead',
        in_channels=32,
        in_index=2,
        channels=8,
        num_convs=1,
        num_classes=classes,
        norm_cfg=dict(type='BN'),
    )
    return build_segmentor(seed, decode_head=head, auxiliary_head=auxiliary, **changes)


def start(model, checkpoint, ours, theirs=THEIRS):
    return start_from_segmenter(model, checkpoint, source='the file', theirs=theirs, ours=ours)


def test_rows_go_to_the_class_of_their_name_in_every_head():
    ours = ['Sky', 'kerb', 'traffic_light', 'road']  # written differently, in another order, one of its own
    old, new = segmenter(5, 1), segmenter(4, 2)
    fresh = {key: value.clone() for key, value in new.state_dict().items()}
    report = start(new, {'state_dict': old.state_dict()}, ours)
    before, after = old.state_dict(), new.state_dict()
    for key in ('decode_head.conv_seg.weight', 'decode_head.conv_seg.bias', 'auxiliary_head.conv_seg.weight'):
        for row, other in ((0, 1), (2, 2), (3, 0)):
            assert torch.equal(after[key][row], before[key][other]), (key, row)
        assert torch.equal(after[key][1], fresh[key][1])
    others = [key for key in after if 'conv_seg' not in key]
    assert others and all(torch.equal(after[key], before[key]) for key in others)
    assert report.rows == ['decode_head.conv_seg', 'auxiliary_head.conv_seg']
    assert report.kept == ['Sky', 'traffic_light', 'road'] and report.fresh_classes == ['kerb']
    assert len(report.taken) == report.total == len(after)
    text = '\n'.join(report.lines('old.pth'))
    assert 'kept by name: Sky, traffic_light, road; fresh: kerb' in text


def test_as_many_classes_in_another_order_are_not_taken_for_the_same():
    old, new = segmenter(5, 1), segmenter(5, 2)
    report = start(new, {'state_dict': old.state_dict()}, [*reversed(THEIRS)])
    assert torch.equal(new.decode_head.conv_seg.weight, old.decode_head.conv_seg.weight.flip(0))
    assert report.kept == [*reversed(THEIRS)] and not report.fresh
    strangers = segmenter(5, 3)
    kept = strangers.decode_head.conv_seg.weight.clone()
    report = start(strangers, {'state_dict': old.state_dict()}, ['a', 'b', 'c', 'd', 'e'])
    assert torch.equal(strangers.decode_head.conv_seg.weight, kept)
    assert [name for name in report.fresh if 'other classes' in name] == [
        'decode_head.conv_seg.weight (other classes)',
        'decode_head.conv_seg.bias (other classes)',
        'auxiliary_head.conv_seg.weight (other classes)',
        'auxiliary_head.conv_seg.bias (other classes)',
    ]


def test_a_file_that_does_not_tell_its_classes():
    old = segmenter(5, 1)
    same = segmenter(5, 2)
    report = start(same, {'state_dict': old.state_dict()}, THEIRS, theirs=None)
    assert torch.equal(same.decode_head.conv_seg.weight, old.decode_head.conv_seg.weight)
    assert len(report.notes) == 4 and 'does not tell its classes' in report.notes[0]
    fewer = segmenter(3, 2)
    report = start(fewer, {'state_dict': old.state_dict()}, THEIRS[:3], theirs=None)
    assert 'decode_head.conv_seg.bias (5,) for (3,)' in report.fresh and not report.rows


def test_names_that_could_be_two_are_none():
    old, new = segmenter(5, 1), segmenter(2, 2)
    report = start(
        new, {'state_dict': old.state_dict()}, ['a b', 'road'], theirs=['road', 'A B', 'a_b', 'car', 'person']
    )
    assert report.kept == ['road'] and report.fresh_classes == ['a b']


@pytest.mark.parametrize('form', ['bare', 'model', 'ddp', 'compiled', 'ema'])
def test_whatever_a_trainer_wraps_a_model_in(form):
    old, new = segmenter(5, 1), segmenter(5, 2)
    state = dict(old.state_dict())
    checkpoint = {
        'bare': state,
        'model': {'model': state, 'epoch': 3},
        'ddp': {'state_dict': {f'module.{key}': value for key, value in state.items()}},
        'compiled': {'state_dict': {f'module._orig_mod.{key}': value for key, value in state.items()}},
        # Of mmengine's EMAHook the averaged weights are under state_dict.
        'ema': {
            'state_dict': state,
            'ema_state_dict': {f'module.{key}': torch.zeros_like(value) for key, value in state.items()},
        },
    }[form]
    report = start(new, checkpoint, THEIRS)
    assert len(report.taken) == report.total
    assert all(torch.equal(value, state[key]) for key, value in new.state_dict().items())


def test_what_does_not_fit_is_named_and_stays_as_it_was():
    old = segmenter(5, 1, backbone=dict(type='FAN', arch=TINY_ARCH))
    new = segmenter(5, 2)
    state = {key: value for key, value in old.state_dict().items() if not key.startswith('auxiliary_head')}
    state['decode_head.linear_fuse.conv.weight'] = torch.zeros(2, 2, 1, 1)
    state['neck.convs.0.weight'] = torch.zeros(1)
    before = {key: value.clone() for key, value in new.state_dict().items()}
    report = start(new, {'state_dict': state}, THEIRS)
    text = '\n'.join(report.lines('old.pth'))
    # TAP that the file lacks is near the identity; three blocks in one entry.
    assert 'backbone.blocks.*.dilation_predictor.proj.*.weight (9 of them)' in text
    assert 'decode_head.linear_fuse.conv.weight (2, 2, 1, 1) for' in text
    assert '1 of the file are not used: neck.convs.*.weight' in text
    untouched = set(before) - set(report.taken)
    assert all(torch.equal(new.state_dict()[key], before[key]) for key in untouched)
    assert {key for key in untouched if not key.endswith('num_batches_tracked')} == {
        name.partition(' ')[0] for name in report.fresh
    }


def test_positions_of_another_grid_are_resampled_by_the_encoder():
    vit = dict(type='TimmViT', model='test_vit', out_indices=(0, 1, 2, 3))
    head = {**segmentor_config()['decode_head'], 'in_channels': (64,) * 4, 'num_classes': 5}
    old, new = (build_segmentor(seed, backbone=vit, decode_head=head, loss_attention=None) for seed in (1, 2))
    state = dict(old.state_dict())
    table = state['backbone.model.pos_embed']
    state['backbone.model.pos_embed'] = torch.cat([table[:, :1], table[:, 1:37]], dim=1)  # 6 x 6 for 10 x 10
    report = start(new, {'state_dict': state}, THEIRS)
    assert 'backbone.model.pos_embed' in report.taken and not report.fresh
    assert not torch.equal(new.backbone.model.pos_embed, table)


def test_a_public_release_as_it_was_published():
    released = made_up.segmentation_file('tiny_hybrid', 4)
    checkpoint = converted_if_released(released)
    classes = dataset_meta_of(checkpoint['meta'])['classes']
    assert classes[:2] == ['road', 'sidewalk'] and len(classes) == 19
    new = build_segmentor(
        backbone=dict(type='FAN', arch='tiny_hybrid', tap=dict(num_branches=4)),
        decode_head=dict(
            type='FANHead',
            in_channels=(128, 256, 192, 192),
            channels=768,
            num_classes=2,
            norm_cfg=dict(type='BN'),
        ),
    )
    report = start(new, checkpoint, ['sky', 'hut'], theirs=classes)
    assert report.kept == ['sky'] and not report.fresh and not report.unused
    theirs = released['state_dict']['decode_head.linear_pred.weight'][classes.index('sky')]
    assert torch.equal(new.decode_head.conv_seg.weight[0], theirs)
    own = {'state_dict': new.state_dict()}
    assert converted_if_released(own) is own


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        ({}, 'the file: holds no segmenter'),
        (
            {'blocks.0.attn.q.weight': torch.zeros(32, 32)},
            'weights of an encoder alone are read by --pretrained FILE',
        ),
        (
            {'backbone.layers.0.weight': torch.zeros(3)},
            'none of its tensors .* fits the encoder of the config',
        ),
    ],
)
def test_a_file_of_something_else_is_refused_and_nothing_is_loaded(state, message):
    new = segmenter(5, 2)
    before = {key: value.clone() for key, value in new.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        start(new, {'state_dict': state}, THEIRS)
    assert all(torch.equal(value, before[key]) for key, value in new.state_dict().items())


HEADS = [
    dict(type='FCNHead', num_convs=1),
    dict(type='DAHead', pam_channels=4),
    dict(type='EncHead', in_channels=(8, 8, 8), in_index=(0, 1, 2), num_codes=2),
    dict(type='DDRHead'),
    dict(type='PIDHead'),
    dict(type='SegmenterMaskTransformerHead', num_layers=1, num_heads=1, embed_dims=8),
    dict(type='ASPPHead', dilations=(1, 2)),
]


@pytest.mark.parametrize('head', HEADS, ids=lambda head: head['type'])
def test_the_layers_that_count_classes_in_mmsegs_heads_are_known(head):
    """Against mmseg itself: what changes its shape with the number of classes, and nothing else."""

    def shapes(classes: int) -> dict:
        config = {'in_channels': 8, 'in_index': 0, 'channels': 8, **head, 'num_classes': classes}
        built = MODELS.build(config)
        assert isinstance(built, BaseDecodeHead)
        return {key: value.shape for key, value in built.state_dict().items()}

    five, six = shapes(5), shapes(6)
    counting = {key for key in five if five[key] != six[key]}
    known = {key for key in five if _CLASSIFIER.fullmatch(key)}
    assert counting == known != set()
