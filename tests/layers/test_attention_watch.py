"""The interface between an encoder's attention and the loss that watches it."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmseg_tapadl.layers import AttentionWatch, WatchableAttention, diversified_attention
from mmseg_tapadl.layers.textbook import textbook_diversified_attention
from tests.layers.attention_inputs import blocks_of, random_attention_inputs
from tests.layers.tensor_census import TensorCensus


class Layer(nn.Module):
    """Self-attention of one head with projections sharp enough for a similarity above 0."""

    def __init__(self, dim: int):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        nn.init.normal_(self.q.weight)
        nn.init.normal_(self.k.weight)
        self.core = WatchableAttention()

    def forward(self, x):
        return x + self.core(*(p(x).unsqueeze(1) for p in (self.q, self.k, self.v))).squeeze(1)


class Encoder(nn.Module):
    """Three layers; ``reentrant`` is how each is checkpointed, ``None`` is not at all."""

    def __init__(self, reentrant: bool | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(Layer(8) for _ in range(3))
        self.reentrant = reentrant

    def forward(self, x):
        for layer in self.layers:
            x = layer(x) if self.reentrant is None else checkpoint(layer, x, use_reentrant=self.reentrant)
        return x


def tokens(requires_grad=False):
    return torch.randn(2, 30, 8, generator=torch.Generator().manual_seed(1)).requires_grad_(requires_grad)


def test_unarmed_it_is_plain_attention():
    q, k, v = random_attention_inputs(1, 2, 9, 11, 4)
    core = WatchableAttention(scale=0.3)
    assert torch.equal(core(q, k, v), F.scaled_dot_product_attention(q, k, v, scale=0.3))


def test_armed_it_hands_over_the_similarity():
    encoder = Encoder()
    q, k, v = random_attention_inputs(2, 1, 30, 30, 8)
    watch = AttentionWatch(encoder, threshold=1.5)
    with watch.listening() as similarities:
        out = encoder.layers[0].core(q, k, v)
    expected_out, expected = diversified_attention(q, k, v, threshold=1.5)
    assert torch.equal(out, expected_out)
    assert [s.tolist() for s in similarities] == [expected.tolist()]
    assert expected.min() > 0


def test_in_evaluation_nothing_is_collected():
    encoder = Encoder().eval()
    with AttentionWatch(encoder).listening() as similarities:
        encoder(tokens())
    assert similarities == []


def test_after_listening_nothing_is_collected():
    encoder = Encoder()
    with AttentionWatch(encoder).listening() as similarities:
        encoder(tokens())
    encoder(tokens())
    assert len(similarities) == 3


def test_an_error_while_listening_ends_it():
    encoder = Encoder()
    watch = AttentionWatch(encoder)
    with pytest.raises(ZeroDivisionError), watch.listening() as similarities:
        raise ZeroDivisionError
    encoder(tokens())
    assert similarities == []


@pytest.mark.parametrize('layers', [None, [0], [2, 0], [-1]])
def test_chosen_layers(layers):
    encoder = Encoder()
    chosen = range(3) if layers is None else sorted(i % 3 for i in layers)
    with AttentionWatch(encoder).listening() as all_similarities:
        encoder(tokens())
    again = Encoder()
    with AttentionWatch(again, layers=layers).listening() as similarities:
        again(tokens())
    assert len(similarities) == len(chosen)
    for similarity, index in zip(similarities, chosen, strict=True):
        torch.testing.assert_close(similarity, all_similarities[index])


def test_checkpointing_counts_once_and_keeps_the_gradient():
    gradients = []
    for reentrant in (None, False):
        encoder = Encoder(reentrant)
        with AttentionWatch(encoder).listening() as similarities:
            out = encoder(tokens(requires_grad=True))
        assert len(similarities) == 3
        loss = torch.stack(similarities).mean()
        assert loss > 0
        (loss + out.square().mean()).backward()
        assert len(similarities) == 3, 'the second forward pass must count nothing'
        gradients.append([p.grad for p in encoder.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        assert torch.equal(plain, checkpointed)


def test_the_loss_alone_reaches_the_projections_through_checkpointing():
    encoder = Encoder(reentrant=False)
    with AttentionWatch(encoder).listening() as similarities:
        encoder(tokens())
    torch.stack(similarities).mean().backward()
    assert encoder.layers[0].q.weight.grad.abs().sum() > 0


def test_reentrant_checkpointing_is_refused():
    encoder = Encoder(reentrant=True)
    with AttentionWatch(encoder).listening(), pytest.raises(RuntimeError, match='use_reentrant=False'):
        encoder(tokens(requires_grad=True))


def test_without_gradients_it_may_listen():
    encoder = Encoder()
    with torch.no_grad(), AttentionWatch(encoder).listening() as similarities:
        encoder(tokens())
    assert len(similarities) == 3


def test_an_encoder_with_nothing_to_watch():
    with pytest.raises(ValueError, match='Linear offers no attention to watch'):
        AttentionWatch(nn.Linear(2, 2))


@pytest.mark.parametrize('layers', [[3], [0, -4], [], [1.0], [True], 'all'])
def test_layers_it_does_not_have(layers):
    with pytest.raises(ValueError, match='Encoder has 3 attentions, numbered 0 to 2'):
        AttentionWatch(Encoder(), layers=layers)


@pytest.mark.parametrize('layers', [[1, 1], [2, 0, -1]])
def test_layers_named_twice(layers):
    with pytest.raises(ValueError, match=r'names attention [12] of 0 to 2 twice'):
        AttentionWatch(Encoder(), layers=layers)


def test_layers_that_are_no_list():
    with pytest.raises(ValueError, match=r'layers=2: give a list of positions'):
        AttentionWatch(Encoder(), layers=2)


@pytest.mark.parametrize('threshold', [0.0, -1.0, float('nan'), float('inf')])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises(ValueError, match=f'threshold={threshold}: it must be above 0 and finite'):
        AttentionWatch(Encoder(), threshold=threshold)


def test_a_second_watch_with_another_threshold_is_refused_until_the_first_is_released():
    encoder = Encoder()
    first = AttentionWatch(encoder, threshold=1.5, layers=[0, 1])
    with pytest.raises(ValueError, match=r'threshold=2\.0: Encoder is already watched with threshold=1\.5'):
        AttentionWatch(encoder, threshold=2.0, layers=[1, 2])
    # The refused watch has changed nothing.
    assert [m.threshold for m in encoder.modules() if isinstance(m, WatchableAttention)] == [1.5, 1.5, None]
    AttentionWatch(encoder, threshold=2.0, layers=[2])
    first.release()
    AttentionWatch(encoder, threshold=2.0)


def test_two_watches_with_one_threshold_hear_the_same():
    encoder = Encoder()
    first, second = AttentionWatch(encoder), AttentionWatch(encoder, layers=[0, 2])
    with first.listening() as outer:
        with second.listening() as inner:
            encoder(tokens())
        encoder(tokens())
    assert len(inner) == 2
    assert len(outer) == 6
    assert inner[0] is outer[0]
    assert inner[1] is outer[2]


def test_a_deep_copy_is_watched_by_the_copy_of_its_watch():
    model = nn.Module()
    model.encoder = Encoder()
    model.watch = AttentionWatch(model.encoder, layers=[1, 2])
    duplicate = copy.deepcopy(model)
    with duplicate.watch.listening() as similarities:
        model.encoder(tokens())
        assert similarities == []
        duplicate.encoder(tokens())
    assert len(similarities) == 2
    assert all(a is not b for a, b in zip(model.watch.attentions, duplicate.watch.attentions, strict=True))


def test_a_copy_made_while_a_watch_listens_is_not_heard():
    encoder = Encoder()
    with AttentionWatch(encoder).listening() as similarities:
        encoder(tokens())
        duplicate = copy.deepcopy(encoder)
        duplicate(tokens())
        assert len(similarities) == 3
        encoder(tokens())
    assert len(similarities) == 6
    with AttentionWatch(duplicate).listening() as own:
        duplicate(tokens())
    assert len(own) == 3


def test_dropout_of_the_attention_is_torch_dropout_and_only_in_training():
    q, k, v = random_attention_inputs(1, 2, 9, 11, 4)
    core = WatchableAttention(attn_drop_rate=0.5)
    torch.manual_seed(4)
    dropped = core(q, k, v)
    torch.manual_seed(4)
    assert torch.equal(dropped, F.scaled_dot_product_attention(q, k, v, dropout_p=0.5))
    assert torch.equal(core.eval()(q, k, v), F.scaled_dot_product_attention(q, k, v))


def test_attention_with_dropout_cannot_be_watched():
    encoder = Encoder()
    encoder.layers[1].core = WatchableAttention(attn_drop_rate=0.1)
    with pytest.raises(ValueError, match=r'attn_drop_rate=0\.1: attention with dropout cannot be watched'):
        AttentionWatch(encoder)
    assert len(AttentionWatch(encoder, layers=[0, 2]).attentions) == 2


@pytest.mark.parametrize('rate', [-0.1, 1.0, float('nan')])
def test_a_rate_that_is_none(rate):
    with pytest.raises(ValueError, match='attn_drop_rate must be from 0 to below 1, got'):
        WatchableAttention(attn_drop_rate=rate)


def terms():
    generator = torch.Generator().manual_seed(5)
    bias = torch.randn(1, 2, 9, 11, generator=generator)
    bias[:, :, 3] = bias[..., 7] = float('-inf')
    return bias, torch.rand(1, 2, 9, 11, generator=generator)


@pytest.mark.parametrize('training', [True, False])
def test_unarmed_a_bias_is_the_mask_of_plain_attention(training):
    q, k, v = random_attention_inputs(2, 2, 9, 11, 4)
    bias, _ = terms()
    core = WatchableAttention().train(training)
    out = core(q, k, v, bias=bias, num_prefix=2)
    assert torch.equal(out, F.scaled_dot_product_attention(q, k, v, attn_mask=bias))
    assert out[:, :, 3].abs().max() == 0


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('by_rows', [True, False])
def test_unarmed_a_gain_is_exact_and_learned(training, by_rows):
    q, k, v = random_attention_inputs(2, 2, 9, 11, 4, dtype=torch.float64)
    bias, gain = (x.double() for x in terms())
    core = WatchableAttention(scale=0.7).train(training)
    grads = []
    for function in (
        lambda *x, **t: core(*x, **t),
        lambda *x, **t: textbook_diversified_attention(*x, scale=0.7, **t)[0],
    ):
        leaf = gain.clone().requires_grad_()
        out = function(
            q, k, v, bias=bias, gain=(lambda rows, leaf=leaf: leaf[:, :, rows]) if by_rows else leaf
        )
        out.square().sum().backward()
        grads.append((out, leaf.grad))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-10, atol=1e-10)


def test_a_gain_needs_no_matrix_of_queries_by_keys():
    q, k, v = random_attention_inputs(1, 2, 1500, 1024, 2)
    with TensorCensus() as census, blocks_of(1 << 20), torch.no_grad():
        WatchableAttention().eval()(q, k, v, gain=lambda rows: torch.ones(1, 1, rows.stop - rows.start, 1))
    assert census.largest < 1500 * 1024


def test_armed_it_takes_bias_gain_and_prefix():
    q, k, v = random_attention_inputs(2, 2, 9, 11, 4)
    bias, gain = terms()
    core = WatchableAttention()
    with AttentionWatch(core, threshold=1.2).listening() as similarities:
        out = core(q, k, v, bias=bias, gain=gain, num_prefix=2)
    expected = diversified_attention(q, k, v, bias=bias, gain=gain, num_prefix=2, threshold=1.2)
    assert torch.equal(out, expected[0])
    assert torch.equal(similarities[0], expected[1])
    assert expected[1].min() > 0


@pytest.mark.parametrize('armed', [True, False])
@pytest.mark.parametrize(
    ('number', 'wrong', 'message'),
    [
        (0, torch.zeros(2, 9, 4), r'q must be .*\(2, 9, 4\)'),
        (1, torch.zeros(2, 3, 11, 4), r'k must agree with q .*\(2, 3, 11, 4\)'),
        (2, torch.zeros(2, 2, 10, 4), r'v must agree with k .*\(2, 2, 10, 4\)'),
        (1, torch.zeros(2, 2, 11, 4).double(), r'k must have the dtype of q, .*float64'),
    ],
)
def test_inputs_that_do_not_fit(number, wrong, message, armed):
    core = WatchableAttention()
    if armed:
        AttentionWatch(core)
    inputs = random_attention_inputs(2, 2, 9, 11, 4)
    inputs[number] = wrong
    with pytest.raises(ValueError, match=message):
        core(*inputs)


@pytest.mark.parametrize('armed', [True, False])
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(num_prefix=9), 'num_prefix must be from 0 to 8, .* got 9'),
        (dict(bias=torch.zeros(9, 9)), r'bias must broadcast to .*\(9, 9\)'),
        (dict(gain=torch.zeros(3, 1, 1, 1)), r'gain must broadcast to .*\(3, 1, 1, 1\)'),
    ],
)
def test_terms_that_do_not_fit(arguments, message, armed):
    core = WatchableAttention()
    if armed:
        AttentionWatch(core)
    with pytest.raises(ValueError, match=message):
        core(*random_attention_inputs(2, 2, 9, 11, 4), **arguments)


def test_a_gain_with_dropout_is_refused_in_training():
    q, k, v = random_attention_inputs(2, 2, 9, 11, 4)
    core = WatchableAttention(attn_drop_rate=0.1)
    with pytest.raises(ValueError, match=r'attn_drop_rate=0\.1: attention with a gain has no dropout'):
        core(q, k, v, gain=terms()[1])
    core.eval()(q, k, v, gain=terms()[1])


def test_it_compiles_without_a_graph_break():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias, self.gain = (nn.Parameter(term) for term in terms())
            self.core = WatchableAttention()

        def forward(self, *inputs):
            return self.core(*inputs, bias=self.bias, gain=self.gain, num_prefix=2)

    layer = Layer()
    watch = AttentionWatch(layer, threshold=1.2)
    torch.compiler.reset()
    inputs = random_attention_inputs(1, 2, 9, 11, 4)
    results = []
    for function in (torch.compile(layer, backend='eager', fullgraph=True), layer):
        layer.zero_grad()
        with watch.listening() as similarities:
            out = function(*inputs)
        (out.square().sum() + similarities[0].sum()).backward()
        results.append([out, *similarities, layer.bias.grad, layer.gain.grad])
    assert results[0][1].min() > 0
    for own, expected in zip(*results, strict=True):
        torch.testing.assert_close(own, expected)
