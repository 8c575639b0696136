"""What the benchmarks compare with computes the same: otherwise a factor of theirs would mean nothing."""

import pytest
import torch

from benchmarks.models import build_model, random_batch
from tests.models.builders import sharpen_attention

CPU = torch.device('cpu')
CONFIG = 'fan_tapadl_demo'


def test_the_twin_has_the_same_losses_and_gradients():
    pictures, samples = random_batch(2, 64, 96, CPU)
    results = []
    for twin in (False, True):
        model = build_model(CONFIG, CPU, twin=twin).double().train()
        sharpen_attention(model.backbone)
        torch.manual_seed(3)
        losses = model(pictures.double(), samples, mode='loss')
        assert losses['loss_adl'] > 0.01
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        results.append((losses, {name: p.grad for name, p in model.named_parameters()}))
    (losses, grads), (twin_losses, twin_grads) = results
    for name, value in losses.items():
        assert value.item() == pytest.approx(twin_losses[name].item(), rel=1e-9), name
    scale = max(grad.abs().max() for grad in grads.values() if grad is not None)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, twin_grads[name], rtol=1e-6, atol=1e-9 * scale, msg=name)


def test_the_twin_has_the_same_scores():
    pictures, samples = random_batch(1, 64, 96, CPU)
    with torch.no_grad():
        ours, twins = (
            build_model(CONFIG, CPU, twin=twin)
            .double()
            .eval()
            .encode_decode(pictures.double(), [sample.metainfo for sample in samples])
            for twin in (False, True)
        )
    torch.testing.assert_close(ours, twins, rtol=1e-9, atol=1e-9)
