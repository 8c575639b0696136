"""What every decode head here keeps: mmseg's own ``SegformerHead`` is the same function of the same weights.

A head is a :class:`Case`: how its weights are called in mmseg's head. FAN's has neither norm nor activation before
the fusion, so its reference is mmseg's head built without them, around a fusion that has them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from mmseg_tapadl.utils import InputError
from tests.engine.tiny_run import run_tool_here
from tests.models.builders import batch, build

CHANNELS = (8, 16, 40, 64)
SIZES = ((24, 16), (12, 8), (6, 4), (3, 2))
ODD_SIZES = ((25, 17), (13, 9), (7, 5), (4, 3))


def segformer_reference(options: dict) -> nn.Module:
    """mmseg's head as it is."""
    return build(dict(type='SegformerHead', **options))


def fan_reference(options: dict) -> nn.Module:
    """mmseg's head with bare projections; norm and activation follow its fusion alone."""
    head = build(dict(type='SegformerHead', **options | dict(norm_cfg=None, act_cfg=None)))
    norm, activation = options.get('norm_cfg'), options.get('act_cfg', dict(type='ReLU'))
    head.fusion_conv = ConvModule(4 * head.channels, head.channels, 1, norm_cfg=norm, act_cfg=activation)
    return head


def fan_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """FAN's weights (or their gradients) under the names, in the shapes and order of mmseg's head."""
    renamed = {}
    for name, value in tensors.items():
        if name.startswith('linear_c'):
            level, kind = int(name[len('linear_c')]) - 1, name.rpartition('.')[2]
            renamed[f'convs.{level}.conv.{kind}'] = value[:, :, None, None] if kind == 'weight' else value
        elif name == 'linear_fuse.conv.weight':
            renamed['fusion_conv.conv.weight'] = torch.cat(value.chunk(4, dim=1)[::-1], dim=1)
        else:
            renamed[name.replace('linear_fuse', 'fusion_conv')] = value
    return renamed


@dataclass(frozen=True)
class Case:
    """One head: its registered name, mmseg's head of the same function, and what its weights are called there."""

    kind: str
    reference: Callable[[dict], nn.Module]
    names: Callable[[dict[str, Tensor]], dict[str, Tensor]]


HEADS = [Case('FANHead', fan_reference, fan_names), Case('FastSegformerHead', segformer_reference, dict)]
every_head = pytest.mark.parametrize('case', HEADS, ids=lambda case: case.kind)

OPTIONS = [
    dict(norm_cfg=dict(type='BN')),
    dict(norm_cfg=None),
    dict(),
    dict(norm_cfg=dict(type='SyncBN', requires_grad=True)),
    dict(norm_cfg=dict(type='BN', requires_grad=False)),
    dict(norm_cfg=dict(type='BN', affine=False)),
    dict(norm_cfg=dict(type='GN', num_groups=4)),
    dict(norm_cfg=dict(type='IN')),
    dict(norm_cfg=None, act_cfg=None),
    dict(norm_cfg=dict(type='BN'), act_cfg=None),
    dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='GELU')),
    dict(norm_cfg=None, act_cfg=dict(type='LeakyReLU', negative_slope=0.2)),
    dict(norm_cfg=dict(type='BN'), dropout_ratio=0.0),
    dict(norm_cfg=dict(type='BN'), align_corners=True),
    dict(norm_cfg=None, align_corners=True),
    dict(norm_cfg=dict(type='BN'), num_classes=2, out_channels=1, threshold=0.4),
]


def options_of(**changes) -> dict:
    """A head's options but its type."""
    return dict(in_channels=CHANNELS, in_index=(0, 1, 2, 3), channels=32, num_classes=19) | changes


def features(sizes=SIZES, images: int = 2, seed: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(images, width, *size, generator=generator, dtype=torch.float64)
        for width, size in zip(CHANNELS, sizes, strict=True)
    ]


def pair(case: Case, options: dict) -> tuple[nn.Module, nn.Module]:
    """Our head and mmseg's, of the same random weights and statistics."""
    ours = revert_sync_batchnorm(build(dict(type=case.kind, **options))).double()
    theirs = revert_sync_batchnorm(case.reference(options)).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in ours.state_dict().items():
            if value.is_floating_point():
                low = 0.5 if name.endswith('running_var') else -0.5
                value.copy_(torch.rand(value.shape, generator=generator, dtype=torch.float64) + low)
    theirs.load_state_dict(case.names(ours.state_dict()), strict=True)
    return ours, theirs


def compare(case: Case, options: dict, inputs: list[Tensor], *, training: bool) -> None:
    """Logits, gradients of features and weights, and running statistics are those of mmseg's head."""
    found = []
    for head in pair(case, options):
        own_inputs = [f.clone().requires_grad_() for f in inputs]
        head.train(training)
        torch.manual_seed(1)  # of the dropout
        logits = head(own_inputs)
        logits.square().mean().backward()
        gradients = {name: p.grad for name, p in head.named_parameters() if p.requires_grad}
        found.append((logits, own_inputs, gradients, dict(head.named_buffers())))
    (logits, own_inputs, gradients, buffers), (reference, their_inputs, their_gradients, their_buffers) = (
        found
    )
    close = dict(rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(logits, reference, **close)
    for own, their in zip(own_inputs, their_inputs, strict=True):
        torch.testing.assert_close(own.grad, their.grad, **close)
    assert all(gradient is not None for gradient in gradients.values())
    torch.testing.assert_close(case.names(gradients), their_gradients, **close)
    torch.testing.assert_close(case.names(buffers), their_buffers, **close)


@every_head
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_is_mmsegs_head(case, training, options):
    compare(case, options_of(**options), features(), training=training)


@every_head
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('images', [1, 3])
@pytest.mark.parametrize('sizes', [ODD_SIZES, (SIZES[0],) * 4, ((20, 28), (10, 14), (5, 7), (5, 7))])
@pytest.mark.parametrize('norm', [None, dict(type='BN')])
@pytest.mark.parametrize('align_corners', [False, True])
def test_at_any_size_and_number_of_images(case, training, images, sizes, norm, align_corners):
    options = options_of(norm_cfg=norm, align_corners=align_corners)
    compare(case, options, features(sizes, images), training=training)


@pytest.mark.parametrize('training', [False, True])
def test_the_segformer_head_takes_any_mode_and_some_of_the_levels(training):
    (_, case) = HEADS
    nearest = options_of(norm_cfg=dict(type='BN'), interpolate_mode='nearest', align_corners=None)
    compare(case, nearest, features(), training=training)
    two = options_of(in_channels=CHANNELS[1:3], in_index=(1, 2), norm_cfg=None)
    ours, theirs = pair(case, two)
    torch.testing.assert_close(ours.eval()(features()), theirs.eval()(features()), rtol=1e-10, atol=1e-12)


@every_head
def test_align_corners_changes_the_numbers(case):
    off, _ = pair(case, options_of(align_corners=False))
    on, _ = pair(case, options_of(align_corners=True))
    assert (on.eval()(features()) - off.eval()(features())).abs().max() > 1e-3


@every_head
def test_one_value_a_channel_is_refused_in_training_as_by_mmseg(case):
    inputs = features(((1, 1),) * 4, images=1)
    messages = []
    for head in pair(case, options_of(norm_cfg=dict(type='BN'))):
        with pytest.raises(ValueError, match='more than 1 value per channel') as error:
            head.train()(inputs)
        messages.append(str(error.value).split(',')[0])
    assert messages[0] == messages[1]


@every_head
def test_passes_the_tests_of_mmsegs_head(case):
    with pytest.raises(AssertionError):  # lengths differ
        build(dict(type=case.kind, in_channels=(1, 2, 3), in_index=(0, 1), channels=5, num_classes=2))
    channels = (32, 64, 160, 256)
    inputs = [torch.randn(1, width, 16 >> i, 16 >> i) for i, width in enumerate(channels)]
    head = build(
        dict(type=case.kind, in_channels=channels, in_index=[0, 1, 2, 3], channels=256, num_classes=19)
    )
    with pytest.raises(IndexError):  # a level is missing
        head(inputs[:3])
    assert head(inputs).shape == (1, 19, 16, 16)


@every_head
def test_the_loss_follows_sampler_and_ignored_label(case):
    changes = dict(
        norm_cfg=None,
        dropout_ratio=0.0,
        ignore_index=7,
        sampler=dict(type='OHEMPixelSampler', thresh=0.9, min_kept=50),
        loss_decode=[
            dict(type='CrossEntropyLoss', avg_non_ignore=True),
            dict(type='CrossEntropyLoss', loss_weight=0.4, loss_name='loss_second'),
        ],
    )
    _, samples = batch(2, 96, 64)
    results = [head.loss(features(), samples, train_cfg={}) for head in pair(case, options_of(**changes))]
    assert {'loss_ce', 'loss_second', 'acc_seg'} == set(results[0])
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-11)


@every_head
@pytest.mark.parametrize(
    ('key', 'value', 'words'),
    [
        ('channel', 3, r"channel'.*did you mean 'channels'.*num_classes"),
        ('feature_strides', [4, 8], 'feature_strides.*valid: in_channels, channels'),
        ('decoder_params', dict(embed_dim=768), 'decoder_params.*valid: in_channels'),
        ('input_transform', 'resize_concat', 'input_transform=.*leave it out'),
        ('conv_cfg', dict(type='ConvWS'), 'conv_cfg=.*leave it out'),
    ],
)
def test_a_key_that_the_head_cannot_follow_is_named(case, key, value, words):
    with pytest.raises(InputError, match=words):
        build(dict(type=case.kind, **options_of(**{key: value})))


def test_the_tools_say_it_in_one_line_and_write_nothing(repo_root, tmp_path):
    config = repo_root / 'configs/segformer_demo.py'
    options = ('--cfg-options', 'model.decode_head.align_corner=True')
    run = run_tool_here(
        'predict.py', config, 'gone.pth', tmp_path, '--out', 'out', *options, cwd=tmp_path, ok=False
    )
    assert run.status == 2 and 'Traceback' not in run.output
    assert "has no argument 'align_corner' (did you mean 'align_corners'?)" in run.output.splitlines()[-1]
    assert not (tmp_path / 'out').exists()
