"""The attention diversification loss, hooked onto an encoder by the segmentor."""

import re

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import ExponentialMovingAverage
from mmseg.registry import MODELS
from torch import nn

from mmseg_tapadl.layers import WatchableAttention
from mmseg_tapadl.layers.textbook import textbook_diversified_attention
from mmseg_tapadl.models import FAN, AttentionDiversificationLoss
from mmseg_tapadl.utils.errors import InputError
from tests.device import DEVICE_TYPE
from tests.models.builders import TINY_ARCH, batch, build_segmentor, total


def textbook_loss(model, pictures):
    """ADL by its formula, from the queries and keys that reach the encoder's attention."""
    values = []

    def record(module, inputs, output):
        values.append(textbook_diversified_attention(*inputs, threshold=2.0)[1])

    hooks = [m.register_forward_hook(record) for m in model.modules() if isinstance(m, WatchableAttention)]
    model.extract_feat(pictures)
    for hook in hooks:
        hook.remove()
    return torch.stack(values)


@pytest.mark.parametrize('batch_size', [1, 3])
def test_loss_is_the_mean_over_layers_and_images(batch_size):
    model = build_segmentor().double()
    pictures, samples = batch(batch_size)
    losses = model.loss(pictures.double(), samples)
    expected = textbook_loss(model, pictures.double())
    assert expected.shape == (3, batch_size)
    assert expected.amax(1).min() > 0.01
    torch.testing.assert_close(losses['loss_adl'], expected.mean(), rtol=1e-9, atol=1e-12)


def test_loss_weight_and_layers():
    pictures, samples = batch(2)
    model = build_segmentor(
        loss_attention=dict(type='AttentionDiversificationLoss', loss_weight=0.5, layers=[-1, 0])
    ).double()
    expected = 0.5 * textbook_loss(model, pictures.double())[[2, 0]].mean()
    torch.testing.assert_close(
        model.loss(pictures.double(), samples)['loss_adl'], expected, rtol=1e-9, atol=1e-12
    )


def test_gradient_reaches_queries_and_keys():
    model = build_segmentor()
    pictures, samples = batch(1)
    model.loss(pictures, samples)['loss_adl'].backward()
    # ADL looks at the last block's attention, never at its values or at what comes after.
    attention = model.backbone.blocks[-1].attn
    assert attention.q.weight.grad.abs().max() > 0
    key_rows, value_rows = attention.kv.weight.grad.chunk(2)
    assert key_rows.abs().max() > 0
    assert value_rows.abs().max() == 0
    assert model.decode_head.conv_seg.weight.grad is None


def test_switched_off_there_is_no_loss_and_the_rest_is_the_same():
    pictures, samples = batch(2)
    torch.manual_seed(0)
    on = build_segmentor().loss(pictures, samples)
    torch.manual_seed(0)
    off = build_segmentor(loss_attention=None).loss(pictures, samples)
    assert 'loss_adl' not in off
    torch.testing.assert_close(on['decode.loss_ce'], off['decode.loss_ce'], rtol=1e-5, atol=1e-6)


def test_evaluation_computes_nothing_for_the_loss():
    model = build_segmentor().eval()
    plain = build_segmentor(loss_attention=None).eval()
    pictures, samples = batch(1)
    with torch.no_grad():
        a = model.predict(pictures, samples)[0].seg_logits.data
        b = plain.predict(pictures, samples)[0].seg_logits.data
        assert torch.equal(a, b)
        # Also while the watch listens: nothing is collected.
        with model.attention_watch.listening() as similarities:
            model.extract_feat(pictures)
    assert similarities == []


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_statistics_in_float32(dtype):
    model = build_segmentor()
    pictures, samples = batch(1)
    reference = model.loss(pictures, samples)
    with torch.autocast(DEVICE_TYPE, dtype=dtype):
        losses = model.loss(pictures, samples)
    assert losses['loss_adl'].dtype == torch.float32
    # Entries near the threshold may cross it in half precision; the value stays near.
    torch.testing.assert_close(losses['loss_adl'], reference['loss_adl'], rtol=0.1, atol=0.01)
    total(losses).backward()
    gradients = [p.grad for p in model.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert model.backbone.blocks[0].attn.q.weight.grad.abs().max() > 0


def test_checkpointing_counts_nothing_twice():
    pictures, samples = batch(2)
    results = []
    for with_cp in (False, True):
        backbone = dict(type='FAN', arch=TINY_ARCH, tap=dict(num_branches=4), with_cp=with_cp)
        model = build_segmentor(backbone=backbone)
        losses = model.loss(pictures, samples)
        total(losses).backward()
        again = model.loss(pictures, samples)
        results.append((losses, again, [p.grad for p in model.parameters()]))
    (plain, plain_again, plain_grads), (saving, saving_again, saving_grads) = results
    for a, b in ((plain, saving), (plain_again, saving_again)):
        assert {k: v.item() for k, v in a.items()} == {k: v.item() for k, v in b.items()}
    assert all(torch.equal(a, b) for a, b in zip(plain_grads, saving_grads, strict=True))


def test_an_encoder_without_attention_is_refused_when_the_model_is_built():
    resnet = dict(
        type='ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3), norm_cfg=dict(type='BN')
    )
    with pytest.raises(ValueError, match='ResNetV1c offers no attention to watch'):
        build_segmentor(backbone=resnet, in_channels=(64, 128, 256, 512))
    # Without the loss any encoder of mmseg will do.
    model = build_segmentor(backbone=resnet, in_channels=(64, 128, 256, 512), loss_attention=None)
    assert set(model.loss(*batch(2))) == {'decode.loss_ce', 'decode.acc_seg'}


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(layers=[7]), ValueError, 'numbered 0 to 2'),
        (dict(layers=[]), ValueError, '3 attentions'),
        (dict(layers=[1, -2]), ValueError, 'names attention 1 of 0 to 2 twice'),
        (dict(layers=1), ValueError, 'loss_attention: layers=1: give a list of positions'),
        (dict(threshold=0.0), ValueError, 'threshold'),
        (dict(threshold=float('inf')), ValueError, 'threshold'),
        (dict(weight=2.0), TypeError, 'loss_weight'),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        build_segmentor(loss_attention=dict(type='AttentionDiversificationLoss', **options))


def test_reentrant_checkpointing_is_refused_because_the_gradient_would_be_lost():
    from torch.utils.checkpoint import checkpoint

    model = build_segmentor()

    class Reentrant(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, x, grid):
            return checkpoint(self.block, x, grid, use_reentrant=True)

    model.backbone.blocks[1] = Reentrant(model.backbone.blocks[1])
    with pytest.raises(RuntimeError, match='use_reentrant=False'):
        model.loss(*batch(1))


def test_layers_weigh_alike_whatever_their_number_of_entries():
    # Layers of windows have more batch entries than others.
    loss = AttentionDiversificationLoss(loss_weight=2.0)
    value = loss([torch.tensor([0.2, 0.4]), torch.tensor([0.9]), torch.zeros(64)])
    torch.testing.assert_close(value, torch.tensor(2 * (0.3 + 0.9 + 0.0) / 3))


def test_no_similarity_at_all():
    with pytest.raises(InputError, match='no attention was watched'):
        AttentionDiversificationLoss()([])


@MODELS.register_module()
class PartlyFrozenFAN(FAN):
    """A FAN of which only the parameters that ``trainable`` matches are trained."""

    def __init__(self, trainable: str, **kwargs):
        super().__init__(arch=TINY_ARCH, tap=dict(num_branches=4), **kwargs)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(re.search(trainable, name) is not None)


def partly_frozen(trainable, layers=None):
    return build_segmentor(
        backbone=dict(type='PartlyFrozenFAN', trainable=trainable),
        loss_attention=dict(type='AttentionDiversificationLoss', layers=layers),
    )


@pytest.mark.parametrize(
    ('trainable', 'layers'),
    [
        ('nothing', None),
        # Only what comes after the watched attention is trained.
        ('blocks.1|blocks.2', [0]),
        ('cls_attn_blocks', None),
        ('blocks.2.attn.proj|blocks.2.mlp', None),
    ],
)
def test_a_loss_that_reaches_no_weight_is_refused_when_the_model_is_built(trainable, layers):
    with pytest.raises(InputError, match=r'loss_attention: .* it would be a constant: train what'):
        partly_frozen(trainable, layers)


@pytest.mark.parametrize(
    ('trainable', 'layers'),
    [('blocks.2.attn.q', None), ('dilation_predictor', [0]), ('patch_embed', [-1]), ('blocks.0', [1, 2])],
)
def test_a_partly_frozen_encoder_trains_what_the_loss_reaches(trainable, layers):
    model = partly_frozen(trainable, layers)
    model.loss(*batch(2))['loss_adl'].backward()
    moved = [n for n, p in model.backbone.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert moved
    assert all(re.search(trainable, name) for name in moved)


def test_the_trial_at_building_leaves_no_trace():
    model = build_segmentor(backbone=dict(type='PartlyFrozenFAN', trainable='patch_embed'))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    norm = model.backbone.blocks[0].mlp.mlp_v.dwconv.bn
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    model.backbone.blocks[1].eval()
    model.loss_attention.watch(model.backbone)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())
    assert norm.num_batches_tracked == 0
    assert [block.training for block in model.backbone.blocks] == [True, False, True]


def test_an_encoder_frozen_after_building_is_refused_in_the_training_step():
    model = build_segmentor()
    model.backbone.requires_grad_(False)
    with pytest.raises(InputError, match='no watched attention depends on a trainable weight any more'):
        model.loss(*batch(2))
    # Where nobody asks for gradients there is nothing to refuse.
    with torch.no_grad():
        assert model.loss(*batch(2))['loss_adl'] > 0


@pytest.mark.parametrize(('idle', 'count'), [(slice(None), 3), (slice(1, 2), 1)])
def test_an_encoder_in_evaluation_mode_is_refused_in_the_training_step(idle, count):
    model = build_segmentor()
    for block in model.backbone.blocks[idle]:
        block.eval()
    with pytest.raises(InputError, match=f'{count} of 3 watched attentions .* are in evaluation mode'):
        model.loss(*batch(2))


def test_a_layer_without_gradients_is_refused():
    model = build_segmentor()
    block = model.backbone.blocks[0]
    block.forward = torch.no_grad()(block.forward)
    with pytest.raises(InputError, match='do not watch frozen layers'):
        model.loss(*batch(2))


def test_an_averaged_copy_of_the_model_has_a_loss_of_its_own():
    model = build_segmentor()
    average = ExponentialMovingAverage(model).module
    model.backbone.eval()  # the copy must not look at it
    with torch.no_grad():
        value = average.loss(*batch(1))['loss_adl']
        torch.testing.assert_close(value, model.train().loss(*batch(1))['loss_adl'], rtol=1e-5, atol=1e-6)


def test_the_weight_rises_over_the_first_iterations_of_a_run():
    similarities = [torch.tensor([0.5, 0.5])]
    loss = AttentionDiversificationLoss(loss_weight=2.0, warmup_iters=4)
    run = MessageHub.get_instance('a run of the warm-up')
    values = []
    for iteration in range(6):
        run.update_info('iter', iteration)
        values.append(float(loss(similarities)))
    assert values == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    # By the run's own count: what goes on from iteration 1 has its weight at once.
    run.update_info('iter', 1)
    assert float(AttentionDiversificationLoss(loss_weight=2.0, warmup_iters=4)(similarities)) == 0.5
    run.pop_info('iter')
    assert float(loss(similarities)) == 1.0  # outside a run
    with pytest.raises(InputError, match='warmup_iters=-1'):
        AttentionDiversificationLoss(warmup_iters=-1)
