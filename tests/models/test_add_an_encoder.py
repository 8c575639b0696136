"""The example of docs/add_an_encoder.md, run as it stands there, beside timm's own model and in a segmentor."""

import pytest
import timm
import torch
from torch import nn

from tests.models.builders import batch, build, build_segmentor, total
from tests.models.encoder_cases import ENCODERS

(VIT,) = (dict(case.config) for case in ENCODERS if case.name == 'documented-ViT')


def test_it_is_timms_function():
    encoder = build(dict(VIT)).double().eval()
    theirs = (
        timm.create_model(VIT['name'], img_size=VIT['img_size'], num_classes=0, global_pool='')
        .double()
        .eval()
    )
    theirs.load_state_dict(encoder.vit.state_dict(), strict=False)
    picture = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs.forward_intermediates(
            picture, indices=VIT['out_indices'], norm=False, intermediates_only=True
        )
        for own, reference in zip(encoder(picture), expected, strict=True):
            torch.testing.assert_close(own, reference, rtol=1e-10, atol=1e-10)


def test_attention_that_it_would_take_over_in_part_is_refused():
    watched = type(build(dict(VIT)).vit.blocks[0].attn)
    with pytest.raises(ValueError, match='q_norm, k_norm'):
        watched(timm.layers.Attention(16, num_heads=2, qk_norm=True, norm_layer=nn.LayerNorm))


def test_it_trains_with_the_loss():
    model = build_segmentor(backbone=dict(VIT, out_indices=(2, 5, 8, 11)), in_channels=(192,) * 4)
    losses = model.loss(*batch(2))
    assert losses['loss_adl'] > 0
    total(losses).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
