"""The interface between an encoder's attention and the loss that watches it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmseg_tapadl.layers import AttentionWatch, WatchableAttention, diversified_attention
from tests.layers.attention_inputs import random_attention_inputs


class Layer(nn.Module):
    """Self-attention of one head with projections sharp enough for a diversity above 0."""

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


def test_armed_it_hands_over_the_diversity():
    encoder = Encoder()
    q, k, v = random_attention_inputs(2, 1, 30, 30, 8)
    watch = AttentionWatch(encoder, threshold=1.5)
    with watch.listening() as diversities:
        out = encoder.layers[0].core(q, k, v)
    expected_out, expected = diversified_attention(q, k, v, threshold=1.5)
    assert torch.equal(out, expected_out)
    assert [d.tolist() for d in diversities] == [expected.tolist()]
    assert expected.min() > 0


def test_in_evaluation_nothing_is_collected():
    encoder = Encoder().eval()
    with AttentionWatch(encoder).listening() as diversities:
        encoder(tokens())
    assert diversities == []


def test_after_listening_nothing_is_collected():
    encoder = Encoder()
    with AttentionWatch(encoder).listening() as diversities:
        encoder(tokens())
    encoder(tokens())
    assert len(diversities) == 3


def test_an_error_while_listening_ends_it():
    encoder = Encoder()
    watch = AttentionWatch(encoder)
    with pytest.raises(ZeroDivisionError), watch.listening() as diversities:
        raise ZeroDivisionError
    encoder(tokens())
    assert diversities == []


@pytest.mark.parametrize('layers', [None, [0], [2, 0], [-1]])
def test_chosen_layers(layers):
    encoder = Encoder()
    chosen = range(3) if layers is None else sorted(i % 3 for i in layers)
    with AttentionWatch(encoder).listening() as all_diversities:
        encoder(tokens())
    again = Encoder()
    with AttentionWatch(again, layers=layers).listening() as diversities:
        again(tokens())
    assert len(diversities) == len(chosen)
    for diversity, index in zip(diversities, chosen, strict=True):
        torch.testing.assert_close(diversity, all_diversities[index])


def test_checkpointing_counts_once_and_keeps_the_gradient():
    gradients = []
    for reentrant in (None, False):
        encoder = Encoder(reentrant)
        with AttentionWatch(encoder).listening() as diversities:
            out = encoder(tokens(requires_grad=True))
        assert len(diversities) == 3
        loss = torch.stack(diversities).mean()
        assert loss > 0
        (loss + out.square().mean()).backward()
        assert len(diversities) == 3, 'the second forward pass must count nothing'
        gradients.append([p.grad for p in encoder.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        assert torch.equal(plain, checkpointed)


def test_the_loss_alone_reaches_the_projections_through_checkpointing():
    encoder = Encoder(reentrant=False)
    with AttentionWatch(encoder).listening() as diversities:
        encoder(tokens())
    torch.stack(diversities).mean().backward()
    assert encoder.layers[0].q.weight.grad.abs().sum() > 0


def test_reentrant_checkpointing_is_refused():
    encoder = Encoder(reentrant=True)
    with AttentionWatch(encoder).listening(), pytest.raises(RuntimeError, match='use_reentrant=False'):
        encoder(tokens(requires_grad=True))


def test_without_gradients_it_may_listen():
    encoder = Encoder()
    with torch.no_grad(), AttentionWatch(encoder).listening() as diversities:
        encoder(tokens())
    assert len(diversities) == 3


def test_an_encoder_with_nothing_to_watch():
    with pytest.raises(ValueError, match='Linear offers no attention to watch'):
        AttentionWatch(nn.Linear(2, 2))


@pytest.mark.parametrize('layers', [[3], [0, -4], []])
def test_layers_it_does_not_have(layers):
    with pytest.raises(ValueError, match='Encoder has 3 attentions, numbered 0 to 2'):
        AttentionWatch(Encoder(), layers=layers)


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
