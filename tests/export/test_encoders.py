"""Each encoder of this project with its head as one file, for one size and for any: the logits are PyTorch's.

An export takes seconds, so every encoder is here once in each way, with TAP or without; all of them, in four minutes:
``TAPADL_EXPORT_ALL=1 python -m pytest tests/export/test_encoders.py``.
"""

import json
import os

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from mmengine.config import Config

from mmseg_tapadl.export.onnx_export import export_onnx
from mmseg_tapadl.inference.adapters.onnx_file import OnnxFile
from mmseg_tapadl.inference.predictor import Predictor
from mmseg_tapadl.utils import InputError
from tests.models.builders import build, segmentor_config

NUM_CLASSES = 5
# Sides that no stride divides.
PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (75, 102, 3), dtype=np.uint8), (0, 0), 2)
PICTURE = cv2.normalize(PICTURE, None, 0, 255, cv2.NORM_MINMAX)
LINEAR = dict(
    type='FCNHead', num_convs=0, concat_input=False, input_transform='resize_concat', in_index=[0, 1]
)
VIT = dict(type='TimmViT', out_indices=(0, 1), final_norm=True)
ENCODERS = {
    'FAN-hybrid': (
        dict(type='FAN', arch=dict(embed_dim=32, depth=2, num_heads=4, token_indices=(0,), stem_depths=(1, 1))),
        dict(type='FANHead', in_channels=(128, 256, 32, 32), channels=48),
    ),
    'FAN': (
        dict(type='FAN', arch=dict(embed_dim=32, depth=4, num_heads=4, token_indices=(0, 1, 2))),
        dict(type='FANHead', in_channels=(32,) * 4, channels=48),
    ),
    'MiT': (
        dict(type='TAPMixVisionTransformer', out_indices=(0, 1), arch=dict(
            embed_dims=8, num_layers=(1, 1), num_heads=(1, 2), patch_sizes=(7, 3), strides=(4, 2), sr_ratios=(2, 1))),
        dict(type='FastSegformerHead', in_channels=[8, 16], in_index=[0, 1], channels=16),
    ),
    'DeiT': (dict(VIT, model='deit_tiny_distilled_patch16_224'), dict(LINEAR, in_channels=[192] * 2, channels=384)),
    'DINOv2': (dict(VIT, model='vit_small_patch14_reg4_dinov2'), dict(LINEAR, in_channels=[384] * 2, channels=768)),
    'Swin': (
        dict(type='TAPSwin', arch=dict(embed_dims=8, depths=(2, 1), num_heads=(1, 2), window_size=4), out_indices=(0, 1)),
        dict(type='FastSegformerHead', in_channels=[8, 16], in_index=[0, 1], channels=16),
    ),
    'RVT': (
        dict(type='RVT', out_indices=(0,), arch=dict(
            embed_dims=(8,), depths=(1,), num_heads=(2,), feature_blocks=(0,), paas_blocks=(0,), paas_side=3)),
        dict(LINEAR, in_index=[0], in_channels=[8], channels=8),
    ),
}  # fmt: skip


def cases(chosen, *, every=tuple(ENCODERS)):
    """Marks a test that takes ``model``: pairs of an encoder and whether it has TAP."""
    if os.environ.get('TAPADL_EXPORT_ALL'):
        chosen = [(name, tap) for name in every for tap in (False, True)]
    return pytest.mark.parametrize(
        'model', chosen, indirect=True, ids=lambda value: f'{value[0]}{"-tap" if value[1] else ""}'
    )


@pytest.fixture
def model(request, tmp_path):
    """A config and a checkpoint without any names of classes."""
    name, tap = request.param
    backbone, head = ENCODERS[name]
    numbers = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 55.0, 50.0])
    if backbone['type'] == 'TimmViT':
        numbers = dict(mean='encoder', std='encoder')
    if tap:
        backbone = dict(backbone, tap=dict(num_branches=3))
    described = segmentor_config(
        backbone=backbone,
        decode_head=dict(dropout_ratio=0.0, num_classes=NUM_CLASSES, norm_cfg=dict(type='BN'), **head),
        loss_attention=None,
        data_preprocessor=dict(type='SegDataPreProcessor', bgr_to_rgb=True, **numbers),
    )
    torch.save({'state_dict': build(described).state_dict()}, tmp_path / 'model.pth')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    return Config(
        dict(default_scope='mmseg', model=described, test_pipeline=pipeline)
    ), tmp_path / 'model.pth'


def as_torch_has_it(model, picture):
    """Logits (C, H, W) as mmseg predicts them."""
    config, checkpoint = model
    (prediction,) = Predictor(config, checkpoint, device='cpu').predict([picture])
    return prediction.logits.numpy()


def check(out, model, picture):
    """The graph itself on a picture, then the file as a predictor."""
    expected = as_torch_has_it(model, picture)
    session = onnxruntime.InferenceSession(str(out), providers=['CPUExecutionProvider'])
    (found,) = session.run(None, {'picture': picture.transpose(2, 0, 1)[None].astype(np.float32)})
    assert found.shape == (1, NUM_CLASSES, *picture.shape[:2])
    assert np.abs(found[0] - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
    (labelled,) = OnnxFile(out, device='cpu').predict([picture])
    assert (labelled.labels.numpy() == expected.argmax(0)).mean() > 0.999


@cases(
    [('FAN-hybrid', True), ('FAN', False), ('MiT', True), ('DeiT', True), ('DINOv2', False), ('RVT', True)],
    every=[name for name in ENCODERS if name != 'Swin'],
)
def test_a_file_for_any_size(model, tmp_path):
    out = tmp_path / 'model.onnx'
    proof = export_onnx(*model, out, pictures=[PICTURE], dynamic=True)
    assert proof.agreement > 0.999 and len(set(proof.sizes)) == 3
    for picture in (PICTURE, PICTURE[:40, :101], np.ascontiguousarray(PICTURE.transpose(1, 0, 2))[:98]):
        check(out, model, np.ascontiguousarray(picture))
    assert OnnxFile(out, device='cpu').classes == tuple(f'class {number}' for number in range(NUM_CLASSES))


@cases([('FAN', True), ('DINOv2', True), ('Swin', True)])
def test_a_file_for_one_size(model, tmp_path):
    out = tmp_path / 'model.onnx'
    export_onnx(*model, out, pictures=[PICTURE])
    check(out, model, PICTURE)
    assert json.loads((tmp_path / 'model.onnx.json').read_text())['description']['size'] == [75, 102]


@cases([('Swin', True)], every=['Swin'])
def test_any_size_is_refused_by_name(model, tmp_path):
    with pytest.raises(InputError, match=r'^TAPSwin cannot be exported for any size .*leave --dynamic out'):
        export_onnx(*model, tmp_path / 'model.onnx', pictures=[PICTURE], dynamic=True)
    assert not (tmp_path / 'model.onnx').exists()
