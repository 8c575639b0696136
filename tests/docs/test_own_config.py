"""The README's lines for 'your own config', on a config of mmseg that never heard of this project."""

import re
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_tapadl.engine import load_config
from mmseg_tapadl.layers import AttentionWatch, TokenAwareAvgPool
from tests.models.builders import batch, total

STOCK = (
    Path(mmseg.__file__).parent / '.mim/configs/segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py'
)
OLD = dict(
    tap='dict(_delete_=True, num_branches=4)',
    loss_attention="dict(_delete_=True, type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0)",
)


@pytest.fixture
def snippet(repo_root) -> str:
    text = (repo_root / 'README.md').read_text(encoding='utf-8')
    return re.search(r'```python\n(.*?)```', text[text.index('In your own config') :], flags=re.DOTALL)[1]


def test_a_stock_segformer_of_mmseg_trains_and_tests_with_it(tmp_path, snippet):
    (tmp_path / 'own.py').write_text(f'_base_ = {str(STOCK)!r}\n{snippet}')
    cfg = Config.fromfile(tmp_path / 'own.py')  # as mmseg's tools read it
    stock = Config.fromfile(STOCK)
    assert {k for k in cfg if cfg[k] != stock.get(k)} == {'custom_imports', 'model'}
    cfg.model.backbone.init_cfg = None  # the public weights are not fetched here
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.init_weights()
    assert sum(isinstance(module, TokenAwareAvgPool) for module in model.backbone.modules()) == 8
    assert len(AttentionWatch(model.backbone).attentions) == 8
    with torch.no_grad():
        for name, parameter in model.backbone.named_parameters():
            if name.endswith('in_proj_weight'):
                parameter.mul_(20)  # at the start no attention is above the threshold

    pictures, samples = batch(2)
    losses = model.train().loss(pictures, samples)
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg', 'loss_adl'}
    assert 0 < losses['loss_adl'] <= 1
    total(losses).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        (result, _) = model.eval().predict(*batch(2, 48, 96))
    assert result.pred_sem_seg.data.shape == (1, 48, 96)


def test_weights_of_the_stock_model_load_into_it(tmp_path, snippet):
    (tmp_path / 'own.py').write_text(f'_base_ = {str(STOCK)!r}\n{snippet}')
    init_default_scope('mmseg')
    theirs = MODELS.build(Config.fromfile(STOCK).model).state_dict()
    mine = MODELS.build(Config.fromfile(tmp_path / 'own.py').model).state_dict()
    assert {n: v.shape for n, v in mine.items() if 'dilation_predictor' not in n} == {
        n: v.shape for n, v in theirs.items()
    }


@pytest.mark.parametrize('name', ['fan_demo', 'segformer_demo'])
def test_a_config_on_our_bases_needs_two_lines_and_takes_them_as_it_did(repo_root, tmp_path, name):
    base = repo_root / f'configs/{name}.py'
    expected = load_config(repo_root / f'configs/{name.replace("_", "_tapadl_")}.py').to_dict()
    for lines in (OLD, {key: value.replace('_delete_=True, ', '') for key, value in OLD.items()}):
        path = tmp_path / 'own.py'
        path.write_text(
            f'_base_ = {str(base)!r}\nmodel = dict(backbone=dict(tap={lines["tap"]}), '
            f'loss_attention={lines["loss_attention"]})\n'
        )
        assert load_config(path).to_dict() == expected
        model = MODELS.build(Config.fromfile(path).model)  # also as mmengine alone reads it
        assert model.attention_watch is not None


def test_none_still_switches_either_off(repo_root):
    path = repo_root / 'configs/segformer_tapadl_demo.py'
    cfg = load_config(path, ['model.backbone.tap=None', 'model.loss_attention=None'])
    model = MODELS.build(cfg.model)
    assert model.attention_watch is None
    assert not any(isinstance(module, TokenAwareAvgPool) for module in model.modules())
