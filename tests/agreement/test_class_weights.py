"""As many class weights as classes, in forms that mmseg computes."""

import json

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS

from mmseg_tapadl.agreement import DisagreementError, check_agreement
from tests.agreement.own_set import own_config

WEIGHTS = [1.0, 2.0, 1.0, 3.0, 0.5]


def with_loss(tmp_path, **loss):
    cfg = own_config(tmp_path)
    cfg.model.decode_head.loss_decode = dict(type='CrossEntropyLoss', **loss)
    return cfg


def fault_of(cfg) -> str:
    with pytest.raises(DisagreementError) as caught:
        check_agreement(cfg, ('train', 'val'))
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('avg_non_ignore', [False, True])
def test_another_number_of_weights(tmp_path, avg_non_ignore):
    text = fault_of(with_loss(tmp_path, class_weight=[1, 1, 2], avg_non_ignore=avg_non_ignore))
    assert (
        'model.decode_head.loss_decode.class_weight has 3 weights, but model.decode_head has 5 classes'
        in text
    )


def test_lists_of_losses_and_auxiliary_heads(tmp_path):
    cfg = own_config(tmp_path)
    cfg.model.decode_head.loss_decode = [
        dict(type='CrossEntropyLoss', class_weight=WEIGHTS),
        dict(type='LovaszLoss', per_image=True, class_weight=WEIGHTS[:4]),
    ]
    assert 'model.decode_head.loss_decode.1.class_weight has 4 weights' in fault_of(cfg)
    cfg.model.decode_head.loss_decode.pop()
    cfg.model.auxiliary_head = [
        dict(
            type='FCNHead', num_classes=5, loss_decode=dict(type='CrossEntropyLoss', class_weight=[1.0] * 19)
        )
    ]
    assert 'model.auxiliary_head.0.loss_decode.class_weight has 19 weights' in fault_of(cfg)


@pytest.mark.parametrize('suffix', ['npy', 'json'])
def test_weights_in_a_file(tmp_path, suffix):
    def write(weights):
        path = tmp_path / f'weights.{suffix}'
        path.write_text(json.dumps(weights)) if suffix == 'json' else np.save(path, np.array(weights))
        return str(path)

    assert check_agreement(with_loss(tmp_path, class_weight=write(WEIGHTS)), ('train',)) == []
    text = fault_of(with_loss(tmp_path, class_weight=write(WEIGHTS[:2])))
    assert f'has 2 weights (of {tmp_path / "weights"}' in text
    assert 'nowhere.json cannot be read as weights' in fault_of(
        with_loss(tmp_path, class_weight='nowhere.json')
    )


def test_weights_of_a_sigmoid(tmp_path):
    """mmseg hands them on as weights along the picture's width, which cannot be computed."""
    text = fault_of(with_loss(tmp_path, use_sigmoid=True, class_weight=WEIGHTS))
    assert '5 class weights and use_sigmoid=True' in text
    assert check_agreement(with_loss(tmp_path, use_sigmoid=True, class_weight=[2.0]), ('train',)) == []


@pytest.mark.parametrize('with_void', [False, True])
def test_a_weighted_mean_over_labelled_pixels_is_computed(tmp_path, with_void):
    """The loss that the config asks for is torch's weighted mean, with void pixels and without."""
    cfg = with_loss(tmp_path, class_weight=WEIGHTS, avg_non_ignore=True)
    (note,) = check_agreement(cfg, ('train', 'val'))
    assert note.startswith(
        'model.decode_head.loss_decode: class_weight averages over labelled pixels already'
    )
    torch.manual_seed(0)
    logits, label = torch.randn(2, 5, 6, 7), torch.randint(0, 5, (2, 6, 7))
    if with_void:
        label[:, :2] = 255
    loss = MODELS.build(cfg.model.decode_head.loss_decode)(logits, label, ignore_index=255)
    wanted = torch.nn.functional.cross_entropy(logits, label, torch.tensor(WEIGHTS), ignore_index=255)
    torch.testing.assert_close(loss, wanted)


@pytest.mark.parametrize(
    'loss', [{'reduction': 'sum'}, {'class_weight': None}, {'use_sigmoid': True, 'class_weight': [1.0]}]
)
def test_what_mmseg_computes_is_left_alone(tmp_path, loss):
    cfg = with_loss(tmp_path, **{'class_weight': WEIGHTS, 'avg_non_ignore': True, **loss})
    assert check_agreement(cfg, ('train',)) == []
    assert cfg.model.decode_head.loss_decode.avg_non_ignore is True
