"""The example of docs/add_an_encoder.md, run as it stands there."""

import re

import torch

from mmseg_tapadl.layers import WatchableAttention
from tests.models.builders import batch, build_segmentor, total


def test_the_documented_vit_trains_with_the_loss(repo_root):
    text = (repo_root / 'docs' / 'add_an_encoder.md').read_text(encoding='utf-8')
    (example,) = re.findall(r'```python\n(.*?)```', text, flags=re.DOTALL)
    exec(compile(example, 'docs/add_an_encoder.md', 'exec'), {'__name__': 'documented_example'})

    vit = dict(type='WatchedViT', name='vit_tiny_patch16_224', img_size=(64, 64), out_indices=(2, 5, 8, 11))
    model = build_segmentor(backbone=vit, in_channels=(192,) * 4)
    attentions = [m for m in model.backbone.modules() if isinstance(m, WatchableAttention)]
    assert len(attentions) == 12
    with torch.no_grad():
        for block in model.backbone.vit.blocks:
            block.attn.qkv.weight[: 2 * 192].mul_(20)
    losses = model.loss(*batch(2))
    assert losses['loss_adl'] > 0
    total(losses).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
