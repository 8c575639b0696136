"""The example of docs/add_an_encoder.md, run as it stands there, beside timm's own model and in a segmentor."""

import pytest
import timm
import torch

from tests.models.builders import batch, build, build_segmentor, total
from tests.models.encoder_cases import ENCODERS

(VIT,) = (dict(case.config) for case in ENCODERS if case.name == 'documented-ViT')


# One of each attention: with norms of queries and keys and an inner norm, with registers, rotary in two ways.
@pytest.mark.parametrize(
    'name',
    ['vit_tiny_patch16_224', 'beit3_base_patch16_224', 'vit_tiny_patch16_dinov3_qkvb', 'vit_pe_spatial_tiny_patch16_512'],
)  # fmt: skip
def test_it_is_timms_function(name):
    encoder = build(dict(VIT, name=name, out_indices=(0, 1))).double().eval()
    theirs = timm.create_model(name, dynamic_img_size=True).double().eval()
    theirs.load_state_dict(encoder.vit.state_dict(), strict=False)
    picture = torch.randn(2, 3, 64, 48, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs.forward_intermediates(picture, indices=[0, 1], norm=False, intermediates_only=True)
        for own, reference in zip(encoder(picture), expected, strict=True):
            torch.testing.assert_close(own, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ('name', 'message'),
    [('vit_dlittle_patch16_reg1_gap_256', 'DiffAttention'), ('vit_small_patch16_18x2_224', 'ParallelThingsBlock'), ('convnext_atto', 'no plain vision transformer'),
     ('test_vit_relpos', 'no plain vision transformer')],
)  # fmt: skip
def test_what_it_would_not_compute_exactly_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        build(dict(VIT, name=name))


def test_it_trains_with_the_loss():
    model = build_segmentor(backbone=dict(VIT, out_indices=(0, 1, 2, 3)), in_channels=(192,) * 4)
    losses = model.loss(*batch(2))
    assert losses['loss_adl'] > 0
    total(losses).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
