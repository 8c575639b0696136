"""What a device likes changes memory and time, and no number."""

import copy

import pytest
import torch
from torch import nn

from mmseg_tapadl.layers import (
    FANBlock,
    HybridEmbed,
    checkpoint_module,
    normed_classifier,
    token_aware_avg_pool,
)
from mmseg_tapadl.layers.add_upsampled import add_upsampled
from mmseg_tapadl.layers.attention_watch import AttentionWatch
from mmseg_tapadl.layers.budget import CPU, VARIABLE, Budget, budget_for, use_budget
from mmseg_tapadl.layers.channel_processing import DepthwiseMlp
from mmseg_tapadl.utils.errors import InputError
from tests.device import DEVICE
from tests.layers.tensor_census import kept_for_backward, num_bytes

PARTS = ('pooling_channels', 'upsampling_channels', 'classifier_channels', 'hidden_channels', 'stem_pixels')
TINY = dict.fromkeys(PARTS, 1) | dict(
    attention_block_bytes=1,
    windows=1,
    attention_block_rows=1,
    attention_group_bytes=1,
    attention_heads_per_thread=1,
)
HUGE = dict.fromkeys(PARTS) | dict(
    attention_block_bytes=1 << 40,
    windows=1 << 20,
    attention_block_rows=1 << 20,
    attention_heads_per_thread=None,
)
CHOICES = {
    f'{size_name}-{"recompute" if recompute else "keep"}': dict(sizes, recompute=recompute)
    for size_name, sizes in {'tiny': TINY, 'usual': {}, 'huge': HUGE}.items()
    for recompute in (True, False)
}


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def seeded(build):
    """A module in float64 at which every parameter matters."""
    torch.manual_seed(0)
    module = build().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return module


def block():
    return seeded(lambda: FANBlock(12, num_heads=3, num_branches=3))


def run_block(module, x, with_cp=False):
    with AttentionWatch(module, threshold=1.2).listening() as watched:
        out = checkpoint_module(module, x, (5, 6)) if with_cp else module(x, (5, 6))
    return out.sum() + sum(value.sum() for value in watched)


def classify(module, x):
    norm, classifier = module
    mask = torch.linspace(0, 2, x.shape[0] * x.shape[1], dtype=x.dtype).view(*x.shape[:2], 1, 1)
    return normed_classifier(x, norm, mask, classifier.weight, classifier.bias)


CASES = {
    'block': (block, run_block, (2, 30, 12)),
    'checkpointed block': (block, lambda m, x: run_block(m, x, with_cp=True), (2, 30, 12)),
    'stem': (
        lambda: seeded(lambda: HybridEmbed(embed_dim=8, depths=(1, 1))),
        lambda m, x: m(x)[1],
        (1, 3, 32, 48),
    ),
    'classifier': (
        lambda: seeded(lambda: nn.Sequential(nn.BatchNorm2d(70), nn.Conv2d(70, 5, 1))),
        classify,
        (2, 70, 4, 5),
    ),
    'upsampling': (
        nn.Identity,
        lambda m, x: add_upsampled(x.flatten(2) * 2, x[:, :, ::2, ::2], (6, 8)),
        (2, 70, 6, 8),
    ),
    'pooling': (nn.Identity, lambda m, x: token_aware_avg_pool(x, x[:, :3].softmax(1)), (2, 9, 5, 6)),
}


def results(case, choice, training):
    build, run, shape = CASES[case]
    module = build().train(training)
    x = normal(*shape).requires_grad_()
    with use_budget(DEVICE, **choice):
        out = run(module, x)
        (out * normal(*out.shape, seed=1)).sum().backward()
        with torch.no_grad():
            without_gradients = run(copy.deepcopy(module).eval(), x)
    gradients = [x.grad, *(p.grad for p in module.parameters() if p.grad is not None)]
    return [out.detach(), without_gradients, *gradients, *module.buffers()]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('case', CASES)
def test_every_choice_gives_the_same_numbers(case, training):
    reference = results(case, {}, training)
    assert all(value.isfinite().all() for value in reference)
    for name, choice in CHOICES.items():
        for own, expected in zip(results(case, choice, training), reference, strict=True):
            scale = max(expected.abs().max().item(), 1.0) if expected.is_floating_point() else 1.0
            torch.testing.assert_close(
                own, expected, rtol=0, atol=1e-12 * scale, msg=lambda m, n=name: f'{n}: {m}'
            )


@pytest.mark.parametrize('case', ['block', 'stem', 'classifier'])
def test_recomputing_keeps_less(case):
    build, run, shape = CASES[case]
    sizes = {}
    for recompute in (True, False):
        with use_budget(DEVICE, recompute=recompute), kept_for_backward() as kept:
            run(build().train(), normal(*shape).requires_grad_())
        sizes[recompute] = num_bytes(kept)
    assert sizes[True] < 0.85 * sizes[False]


@pytest.mark.parametrize('recompute', [True, False])
def test_inside_activation_checkpointing_nothing_runs_three_times(recompute):
    mlp = DepthwiseMlp(6, hidden_dim=8)
    runs = []
    mlp.dwconv.register_forward_hook(lambda *_: runs.append(1))
    x = torch.randn(1, 12, 6, requires_grad=True)
    with use_budget(DEVICE, recompute=recompute):
        checkpoint_module(mlp, x, (3, 4)).sum().backward()
    assert len(runs) == 2
    assert mlp.dwconv.bn.num_batches_tracked == 1


def test_each_kind_of_device_has_its_own():
    assert budget_for('cpu') == budget_for(torch.device('cpu')) == CPU
    assert budget_for('cuda:1').attention_block_bytes > CPU.attention_block_bytes
    assert budget_for('meta').half_products is False
    with use_budget('cuda', recompute=False):
        assert budget_for(torch.device('cuda', 0)).recompute is False
        assert budget_for('cpu') == CPU


def test_changes_nest_and_end():
    with use_budget('cpu', windows=3):
        with pytest.raises(ZeroDivisionError), use_budget('cpu', stem_pixels=None):
            assert (budget_for('cpu').windows, budget_for('cpu').stem_pixels) == (3, None)
            raise ZeroDivisionError
        assert budget_for('cpu') == CPU.changed(windows=3)
    assert budget_for('cpu') == CPU


def test_the_environment_changes_it(monkeypatch):
    monkeypatch.setenv(VARIABLE, 'recompute=false, attention_block_bytes=4000000,stem_pixels=none')
    expected = CPU.changed(recompute=False, attention_block_bytes=4_000_000, stem_pixels=None)
    assert budget_for('cpu') == expected
    with use_budget('cpu', windows=2):
        assert budget_for('cpu') == expected.changed(windows=2)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(attention_block_bytes=0), r'attention_block_bytes=0: .*1 or more$'),
        (dict(attention_block_bytes=None), r'attention_block_bytes=None: .*1 or more$'),
        (dict(windows=-4), 'windows=-4'),
        (dict(pooling_channels=2.0), r'pooling_channels=2\.0: .*None for all'),
        (dict(pooling_channels=True), 'pooling_channels=True'),
        (dict(recompute=1), 'recompute=1: it must be true or false'),
        (dict(window=4), "no field 'window' .*did you mean 'windows'.*attention_block_bytes, half_products"),
    ],
)
def test_a_wrong_budget_is_named(changes, message):
    with pytest.raises(InputError, match=message), use_budget('cpu', **changes):
        pass
    assert budget_for('cpu') == CPU
    if 'window' not in changes:
        with pytest.raises(InputError, match=message):
            Budget(**{**vars(CPU), **changes})


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('attention_block_bytes=0', f'{VARIABLE}: budget attention_block_bytes=0'),
        ('attention_block_bytes=-1', 'attention_block_bytes=-1'),
        ('attention_block_bytes=8MB', "attention_block_bytes='8MB'"),
        ('recompute', f"{VARIABLE}: 'recompute' is not field=value"),
        ('channels=4', "no field 'channels'"),
    ],
)
def test_a_wrong_environment_is_named(monkeypatch, text, message):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError, match=message):
        budget_for('cpu')
