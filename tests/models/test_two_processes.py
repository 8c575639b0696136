"""Two processes over gloo do what one process does with the same global batch."""

import os

import torch
from torch import distributed, multiprocessing, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from tests.models.builders import TINY_ARCH, batch, build_segmentor, total


class LossOnly(nn.Module):
    """Lets DDP see the loss as the forward pass, as mmengine's wrapper does."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pictures, samples):
        return self.model.loss(pictures, samples)


ENCODERS = {
    'FAN': dict(backbone=dict(type='FAN', arch=TINY_ARCH)),
    'TimmViT': dict(
        backbone=dict(type='TimmViT', model='test_vit', out_indices=(0, 1, 2, 3), final_norm=True),
        in_channels=(64,) * 4,
    ),
    'Swin': dict(
        backbone=dict(
            type='TAPSwin',
            arch=dict(embed_dims=8, depths=(2, 1, 1, 1), num_heads=(1, 2, 2, 4), window_size=4),
        ),
        in_channels=(8, 16, 32, 64),
    ),
    'RVT': dict(
        backbone=dict(
            type='RVT',
            arch=dict(
                embed_dims=(16, 32),
                depths=(3, 1),
                num_heads=(2, 2),
                feature_blocks=(0, 1, 2, 3),
                paas_blocks=(0, 2),
                paas_side=3,
            ),
        ),
        in_channels=(16, 16, 16, 32),
    ),
}


CASES = [(encoder, with_cp) for encoder in ENCODERS for with_cp in (False, True)]


def frozen_norm_model(encoder, with_cp):
    options = dict(ENCODERS[encoder])
    options['backbone'] = dict(options['backbone'], tap=dict(num_branches=4), with_cp=with_cp)
    model = build_segmentor(**options).double()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


def work(rank, folder):
    os.environ.update(MASTER_ADDR='127.0.0.1')
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    pictures, samples = batch(4)
    mine = slice(2 * rank, 2 * rank + 2)
    results = []
    for encoder, with_cp in CASES:
        model = frozen_norm_model(encoder, with_cp)
        wrapped = DistributedDataParallel(LossOnly(model))  # find_unused_parameters stays off
        for _ in range(2):  # DDP notices an unused parameter at the second step
            model.zero_grad()
            losses = wrapped(pictures[mine].double(), samples[mine])
            total(losses).backward()
        values = torch.stack([losses['decode.loss_ce'], losses['loss_adl']]).detach()
        distributed.all_reduce(values)
        results.append((values / 2, [p.grad for p in model.parameters()]))
    if rank == 0:
        torch.save(results, f'{folder}/result.pt')
    distributed.destroy_process_group()


def test_losses_and_gradients_agree_with_one_process(tmp_path):
    multiprocessing.spawn(work, args=(str(tmp_path),), nprocs=2)
    results = torch.load(tmp_path / 'result.pt', weights_only=True)

    for encoder in ENCODERS:
        with torch.device('cpu'):  # gloo's processes are on it, whatever device the tests are for
            model = frozen_norm_model(encoder, with_cp=False)
            pictures, samples = batch(4)
        losses = model.loss(pictures.double(), samples)
        total(losses).backward()
        assert losses['loss_adl'] > 0.01
        expected = torch.stack([losses['decode.loss_ce'], losses['loss_adl']]).detach()
        tolerance = 1e-8 if encoder == 'TimmViT' else 1e-10
        own = [result for case, result in zip(CASES, results, strict=True) if case[0] == encoder]
        assert len(own) == 2
        for values, gradients in own:
            torch.testing.assert_close(values, expected)
            for ours, reference in zip(gradients, model.parameters(), strict=True):
                # timm resamples positions in float32.
                torch.testing.assert_close(ours, reference.grad, rtol=1e-7, atol=tolerance)
