"""Every config loads, keeps the interface that others build on, and differs only where its name says so."""

from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import mmseg_tapadl.register  # noqa: F401  registers what the configs name

CONFIGS = sorted((Path(__file__).parents[1] / 'configs').glob('*.py'))
TAP = dict(num_branches=4)
ADL = dict(type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0)


def load(name):
    return Config.fromfile(Path(__file__).parents[1] / 'configs' / f'{name}.py')


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_interface(path):
    cfg = Config.fromfile(path)
    assert cfg.model.backbone.get('arch') or cfg.model.backbone.model
    assert cfg.model.backbone.get('tap') in (None, TAP)
    assert cfg.model.backbone.get('init_cfg') is None
    assert len(cfg.model.decode_head.in_channels) == 4
    assert cfg.model.get('loss_attention') in (None, ADL)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = cfg[loader].dataset
        assert dataset.type in ('CityscapesDataset', 'ACDCDataset')
        assert dataset.data_root
    assert cfg.custom_imports.imports == ['mmseg_tapadl.register']


@pytest.mark.parametrize(
    'path', [p for p in CONFIGS if 'cityscapes' not in p.stem], ids=lambda path: path.stem
)
def test_small_models_build(path):
    cfg = Config.fromfile(path)
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    assert model.num_classes == 19


FAMILIES = {
    'fan': ['cityscapes', 'camvid', 'demo'],
    'segformer': ['cityscapes', 'camvid', 'demo'],
    'rvt': ['cityscapes', 'camvid'],
    'swin': ['cityscapes', 'camvid'],
    'dinov2': ['cityscapes', 'b_cityscapes', 'l_cityscapes', 'camvid'],
    'dinov3': ['cityscapes', 'b_cityscapes', 'l_cityscapes'],
    'deit': ['cityscapes', 'b_cityscapes'],
}
# Families and data that come plain and with both only.
IN_TWO_FORMS = {('segformer', 'camvid'), ('segformer', 'demo')} | {
    (encoder, data)
    for encoder in ('rvt', 'swin', 'dinov2', 'dinov3', 'deit')
    for data in FAMILIES[encoder]
    if 'cityscapes' in data
}


@pytest.mark.parametrize(('encoder', 'data'), [(e, data) for e in FAMILIES for data in FAMILIES[e]])
def test_the_four_differ_only_in_the_switches_they_are_named_for(encoder, data):
    plain = load(f'{encoder}_{data}').to_dict()
    for name, tap, adl in (('tap', TAP, None), ('adl', None, ADL), ('tapadl', TAP, ADL)):
        path = f'{encoder}_{name}_{data}'
        if not any(p.stem == path for p in CONFIGS):
            assert (encoder, data) in IN_TWO_FORMS and name != 'tapadl'
            continue
        expected = {**plain, 'model': dict(plain['model'])}
        if adl is not None:
            expected['model']['loss_attention'] = adl
        if tap is not None:
            expected['model']['backbone'] = {**plain['model']['backbone'], 'tap': tap}
        assert load(path).to_dict() == expected


@pytest.mark.parametrize('name', ['rvt_tapadl_cityscapes', 'rvt_tapadl_camvid'])
def test_the_head_of_an_rvt_fits_its_features(name):
    from mmseg_tapadl.models.backbones import RVT_ARCHS

    cfg = load(name)
    assert cfg.model.decode_head.in_channels == RVT_ARCHS[cfg.model.backbone.arch].feature_channels


@pytest.mark.parametrize(
    'path', [p for p in CONFIGS if p.stem.startswith(('dino', 'deit'))], ids=lambda path: path.stem
)
def test_head_and_crop_fit_the_vision_transformer(path):
    cfg = Config.fromfile(path)
    with torch.device('meta'):
        vit = timm.create_model(cfg.model.backbone.model)
    head = cfg.model.decode_head
    assert head.in_channels == [vit.embed_dim] * 4
    assert head.channels == 4 * vit.embed_dim
    assert cfg.model.backbone.final_norm and vit.norm.weight is not None
    crop = cfg.model.data_preprocessor.size
    assert all(side % vit.patch_embed.patch_size[0] == 0 for side in crop)
    (cut,) = (step for step in cfg.train_pipeline if step.type == 'RandomCrop')
    assert tuple(cut.crop_size) == tuple(crop)


def test_a_frozen_encoder_differs_from_a_trained_one_in_that_alone():
    trained, frozen = (load(f'dinov2_tapadl_{name}cityscapes').to_dict() for name in ('', 'frozen_'))
    trained['model']['backbone']['frozen'] = True
    assert frozen == trained


def test_the_paper_recipe():
    cfg = load('fan_tapadl_cityscapes')
    assert cfg.model.backbone.arch == 'base_hybrid'
    assert cfg.train_cfg.max_iters == 160000
    assert cfg.train_dataloader.batch_size == 1
    assert cfg.optim_wrapper.optimizer == dict(
        type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01, fused=True
    )
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(1024, 1024), stride=(768, 768))


def test_decay_and_rates_of_the_parameter_groups():
    from mmengine.optim import build_optim_wrapper

    cfg = load('fan_tapadl_demo')
    cfg.optim_wrapper = load('fan_tapadl_cityscapes').optim_wrapper
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    names = {id(p): name for name, p in model.named_parameters()}
    for group in optimizer.param_groups:
        (parameter,) = group['params']
        name = names[id(parameter)]
        is_head = name.startswith('decode_head')
        assert group['lr'] == pytest.approx(6e-4 if is_head else 6e-5), name
        is_free = any(
            part in name for part in ('norm', 'gamma', 'temperature', '.bn.', 'stem.1', 'downsample.0')
        )
        is_free |= 'dilation_predictor.proj.1' in name  # its batch norm
        assert group['weight_decay'] == (0.0 if is_free else 0.01), name
