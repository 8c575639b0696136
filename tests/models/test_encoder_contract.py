"""One contract for every encoder: a new one is tested by being listed in ``encoder_cases.py``."""

import copy
import dataclasses

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from mmseg_tapadl.layers import AttentionWatch, WatchableAttention
from mmseg_tapadl.layers.budget import Budget, use_budget
from mmseg_tapadl.layers.textbook import textbook_diversified_attention
from tests.device import DEVICE, DEVICE_TYPE
from tests.models.builders import build, sharpen_attention
from tests.models.encoder_cases import CASES, ENCODERS, EncoderCase, cases_that_support, check_registered

SIZES = [(64, 32), (33, 50), (17, 16), (16, 79), (5, 9), (1, 1)]
every_case = pytest.mark.parametrize(('case', 'config'), CASES)


def pictures(size: int, height: int = 64, width: int = 48, *, seed: int = 1, **options) -> Tensor:
    """Random pictures (size, 3, height, width)."""
    return torch.randn(size, 3, height, width, generator=torch.Generator().manual_seed(seed), **options)


def weighed_sum(features) -> Tensor:
    """A loss on which every value has an influence of its own."""
    generator = torch.Generator().manual_seed(9)
    return sum((f * torch.randn(f.shape, generator=generator).to(f)).mean() for f in features)


def set_random(encoder: nn.Module, share: float = 0.3) -> None:
    """Moves every weight and running mean, so that no two encoders are alike by initialisation."""
    with torch.no_grad():
        for value in encoder.state_dict().values():
            if value.is_floating_point():
                value.mul_(1 + share * torch.rand_like(value)).add_(0.01 * torch.rand_like(value))


def attentions_of(encoder: nn.Module) -> list[WatchableAttention]:
    return [m for m in encoder.modules() if isinstance(m, WatchableAttention)]


@every_case
@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize(('height', 'width'), SIZES)
def test_any_picture_size_forward_and_backward(case, config, training, height, width):
    if height % case.size_divisor or width % case.size_divisor:
        pytest.skip(f'{case.name} takes sides divisible by {case.size_divisor}')
    encoder = build(config).train(training)
    picture = pictures(2, height, width).requires_grad_()
    features = encoder(picture)
    assert [tuple(f.shape) for f in features] == [
        (2, channels, -(-height // stride), -(-width // stride))
        for channels, stride in zip(case.channels, case.strides, strict=True)
    ]
    weighed_sum(features).backward()
    assert picture.grad.isfinite().all()
    assert picture.grad.abs().sum() > 0
    gradients = {name: p.grad for name, p in encoder.named_parameters() if p.requires_grad}
    assert [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []


@every_case
def test_evaluation_treats_each_picture_alone_and_repeats_itself(case, config):
    encoder = build(config).double().eval()
    batch = pictures(3, dtype=torch.float64)
    before = copy.deepcopy(encoder.state_dict())
    with torch.no_grad():
        together, again = encoder(batch), encoder(batch)
        alone = [encoder(batch[i : i + 1]) for i in range(3)]
    for level, feature in enumerate(together):
        assert torch.equal(feature, again[level])
        for i in range(3):
            torch.testing.assert_close(feature[i : i + 1], alone[i][level], rtol=1e-9, atol=1e-9)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@every_case
def test_the_number_of_watched_attentions(case, config):
    encoder = build(config)
    assert len(attentions_of(encoder)) == case.num_attentions
    watch = AttentionWatch(encoder)
    with watch.listening() as similarities:
        encoder(pictures(2))
    assert len(watch.attentions) == len(similarities) == case.num_attentions


@every_case
def test_a_similarity_is_the_formula_on_the_attention_that_ran(case, config):
    encoder = build(config).double()
    sharpen_attention(encoder)
    watch = AttentionWatch(encoder)
    expected = []

    def record(attention, inputs, options, output):
        values, similarity = textbook_diversified_attention(
            *inputs, **options, scale=attention.scale, threshold=2.0
        )
        torch.testing.assert_close(output, values, rtol=1e-9, atol=1e-9)
        expected.append(similarity.detach())

    for attention in watch.attentions:
        attention.register_forward_hook(record, with_kwargs=True)
    with watch.listening() as similarities:
        encoder(pictures(2, dtype=torch.float64))
    assert len(expected) == case.num_attentions
    assert torch.cat(expected).max() > 0.01
    for own, reference in zip(similarities, expected, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-9, atol=1e-12)


@every_case
def test_watching_changes_no_feature_and_reaches_the_weights(case, config):
    torch.manual_seed(3)
    encoder = build(config).double()
    sharpen_attention(encoder)
    batch = pictures(2, dtype=torch.float64)
    plain = encoder(batch)
    with AttentionWatch(encoder).listening() as similarities:
        features = encoder(batch)
    for own, reference in zip(features, plain, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-9, atol=1e-9)
    torch.cat(similarities).mean().backward()
    assert sum(p.grad.abs().sum() for p in encoder.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize(('case', 'config'), cases_that_support('with_cp'))
def test_checkpointing_changes_no_number(case, config):
    rates = dict(drop_path_rate=0.3, drop_rate=0.1)
    options = {name: rate for name, rate in rates.items() if name in case.supports}
    results = []
    weights = None
    for with_cp in (False, True):
        encoder = build(dict(config, with_cp=with_cp, **options))
        weights = weights or copy.deepcopy(encoder.state_dict())
        encoder.load_state_dict(weights)
        sharpen_attention(encoder)
        torch.manual_seed(5)
        with AttentionWatch(encoder).listening() as similarities:
            features = encoder(pictures(2))
        similarity = torch.stack([s.mean() for s in similarities]).mean()
        loss = weighed_sum(features) + similarity
        loss.backward()
        assert len(similarities) == case.num_attentions, 'the second forward pass counts nothing'
        assert similarity > 0
        results.append([loss, *features, *(p.grad for p in encoder.parameters()), *encoder.buffers()])
    for plain, saving in zip(*results, strict=True):
        assert torch.equal(plain, saving)


@pytest.mark.parametrize(('case', 'config'), cases_that_support('with_cp'))
def test_checkpointing_keeps_less(case, config):
    kept = []
    for with_cp in (False, True):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t
        ):
            build(dict(config, with_cp=with_cp))(pictures(2))
        kept.append(sum(sizes))
    assert kept[1] < 0.7 * kept[0]


@every_case
def test_what_the_device_likes_changes_no_number(case, config):
    sizes = [field.name for field in dataclasses.fields(Budget) if field.type is not bool]
    choices = [{}, dict(recompute=False), dict.fromkeys(sizes, 1), dict.fromkeys(sizes, 1 << 40)]
    results = []
    for choice in choices:
        encoder = build(config).double()
        sharpen_attention(encoder)
        with use_budget(DEVICE, **choice):
            with AttentionWatch(encoder).listening() as similarities:
                features = encoder(pictures(2, 32, 48, dtype=torch.float64))
            (weighed_sum(features) + torch.cat(similarities).mean()).backward()
        results.append(
            [*features, *similarities, *(p.grad for p in encoder.parameters()), *encoder.buffers()]
        )
    for others in results[1:]:
        for own, reference in zip(others, results[0], strict=True):
            scale = max(1.0, reference.abs().max().item())
            torch.testing.assert_close(own, reference, rtol=0, atol=1e-11 * scale)


@every_case
def test_frozen_parts_get_no_gradient_and_leave_the_others_as_they_are(case, config):
    gradients = []
    for share in (0.0, 0.5):
        encoder = build(config).double()
        sharpen_attention(encoder)
        parameters = list(encoder.named_parameters())
        frozen = {name for name, _ in parameters[: int(share * len(parameters))]}
        for name, parameter in parameters:
            parameter.requires_grad_(name not in frozen and parameter.requires_grad)
        with AttentionWatch(encoder, layers=[-1]).listening() as similarities:
            features = encoder(pictures(2, dtype=torch.float64))
        (weighed_sum(features) + similarities[0].mean()).backward()
        gradients.append({name: p.grad for name, p in parameters if p.grad is not None})
    whole, part = gradients
    assert set(part) == set(whole) - frozen
    assert part
    for name, grad in part.items():
        torch.testing.assert_close(grad, whole[name], rtol=1e-9, atol=1e-12)


@every_case
def test_state_dict_round_trip_through_a_file(case, config, tmp_path):
    first, second = (build(config, seed=seed).eval() for seed in (1, 2))
    set_random(first)
    picture = pictures(1)
    torch.save(first.state_dict(), tmp_path / 'weights.pth')
    names = set(first.state_dict())
    AttentionWatch(first)
    assert set(first.state_dict()) == names, 'watching adds nothing to a checkpoint'
    with torch.no_grad():
        assert not torch.equal(first(picture)[-1], second(picture)[-1])
        second.load_state_dict(torch.load(tmp_path / 'weights.pth', weights_only=True), strict=True)
        for own, reference in zip(second(picture), first(picture), strict=True):
            assert torch.equal(own, reference)


@every_case
def test_a_copy_is_an_encoder_of_its_own(case, config):
    encoder = build(config)
    watch = AttentionWatch(encoder)
    copied = copy.deepcopy(encoder)
    picture = pictures(2)
    with torch.no_grad():
        expected = [f.clone() for f in encoder.eval()(picture)]
        for own, reference in zip(copied.eval()(picture), expected, strict=True):
            assert torch.equal(own, reference)
        set_random(copied)
        assert not torch.equal(copied(picture)[-1], expected[-1])
        for own, reference in zip(encoder(picture), expected, strict=True):
            assert torch.equal(own, reference)
    with watch.listening() as similarities:
        copied.train()(picture)
        assert similarities == [], 'a watch hears its own encoder only'
        encoder.train()(picture)
    assert len(similarities) == case.num_attentions
    own_modules = set(map(id, encoder.modules()))
    assert not own_modules & set(map(id, copied.modules()))


@every_case
def test_moving_averages_of_the_weights(case, config):
    encoder = build(config)
    average = ExponentialMovingAverage(encoder, momentum=0.25)
    average.update_parameters(encoder)
    first = copy.deepcopy(dict(encoder.named_parameters()))
    set_random(encoder)
    average.update_parameters(encoder)
    for name, parameter in average.module.named_parameters():
        expected = 0.75 * first[name] + 0.25 * encoder.get_parameter(name)
        torch.testing.assert_close(parameter, expected, rtol=1e-5, atol=1e-6)
    reference = build(config).eval()
    reference.load_state_dict(average.module.state_dict())
    with torch.no_grad():
        for own, other in zip(average.module.eval()(pictures(1)), reference(pictures(1)), strict=True):
            assert torch.equal(own, other)


@pytest.mark.parametrize(('case', 'config'), [c for c in cases_that_support('tap') if 'tap' in c.values[1]])
def test_tap_on_weights_that_had_none_starts_as_nearly_the_same_function(case, config):
    """The stated tolerance: features move by less than 5 per cent of their spread."""
    without = build(dict(case.config), seed=1).eval()
    with_tap = build(config, seed=2).eval()
    missing = with_tap.load_state_dict(without.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert missing.missing_keys
    assert all('dilation_predictor' in name for name in missing.missing_keys)
    with torch.no_grad():
        for own, reference in zip(with_tap(pictures(1)), without(pictures(1)), strict=True):
            assert (own - reference).std() < 0.05 * reference.std()
        last = with_tap(pictures(1))[-1]
        assert not torch.equal(last, without(pictures(1))[-1]), 'TAP does act'


@every_case
def test_mixed_precision_stays_near_full_precision(case, config):
    results = []
    for enabled, with_cp in ((False, False), (True, False), (True, True)):
        if with_cp and 'with_cp' not in case.supports:
            continue
        encoder = build(dict(config, with_cp=True) if with_cp else config)
        with torch.autocast(DEVICE_TYPE, torch.bfloat16, enabled=enabled):
            with AttentionWatch(encoder).listening() as similarities:
                features = encoder(pictures(2))
            loss = weighed_sum([f.float() for f in features]) + torch.cat(similarities).mean()
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in encoder.parameters()])
        results.append([*(f.detach().float().flatten() for f in features), gradient])
    for mixed in results[1:]:
        for own, reference in zip(mixed, results[0], strict=True):
            assert torch.cosine_similarity(own, reference, dim=0) > 0.95


@every_case
def test_an_unknown_argument_lists_the_valid_ones(case, config):
    with pytest.raises(TypeError, match='no_such_argument') as caught:
        build(dict(config, no_such_argument=1))
    listed = str(caught.value).split('valid: ')[1].split(', ')
    assert set(config) - {'type'} | case.supports <= set(listed)


def test_a_case_that_names_no_registered_encoder_ends_the_run_with_status_2():
    ghost = EncoderCase(
        name='ghost', config=dict(type='NoSuchEncoder'), strides=(4,), channels=(8,), num_attentions=1
    )
    with pytest.raises(pytest.exit.Exception, match=r"case 'ghost': no encoder .*'NoSuchEncoder'") as caught:
        check_registered([*ENCODERS, ghost])
    assert caught.value.returncode == 2
