"""A head of one channel, as mmseg builds for two classes: its sigmoid is a probability, and is measured as one."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from PIL import Image
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from mmseg_tapadl.evaluation.confidence import LEVELS
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.calibration import calibrate
from mmseg_tapadl.robustness.measured_model import MeasuredConfig
from mmseg_tapadl.robustness.sweep_model import build_model
from tests.robustness.tiny_model import make_tree, write_checkpoint, write_config


@pytest.fixture(scope='module')
def binary(tmp_path_factory):
    """A config of a one-channel head with a threshold of its own, its checkpoint, and a folder to work in."""
    folder = tmp_path_factory.mktemp('binary')
    root = make_tree(folder / 'data', 3)
    for path in (root / 'gtFine').rglob('*.png'):
        ids = np.array(Image.open(path))
        Image.fromarray(np.where(ids == 255, 255, ids % 2).astype(np.uint8)).save(path)
    text = write_config(folder / 'model.py', root).read_text()
    text = text.replace('num_classes=19,', 'num_classes=2, out_channels=1, threshold=0.4,')
    text = text.replace("type='CrossEntropyLoss'", "type='CrossEntropyLoss', use_sigmoid=True")
    text = text.replace(
        "type='CityscapesDataset',",
        "type='BaseSegDataset', img_suffix='_leftImg8bit.png', seg_map_suffix='_gtFine_labelTrainIds.png', "
        "metainfo=dict(classes=('even', 'odd'), palette=[[0, 0, 0], [9, 9, 9]]),",
    )
    (folder / 'model.py').write_text(text)
    torch.manual_seed(0)
    write_checkpoint(folder / 'model.py', folder / 'model.pth')
    return folder


@pytest.fixture(scope='module')
def by_hand(binary):
    """(N,) probability of class 1 and (N,) labels of the labelled pixels of the clean pictures."""
    config = Config.fromfile(binary / 'model.py')
    model = build_model(config, str(binary / 'model.pth'))
    dataset = DATASETS.build(config.test_dataloader.dataset)
    found = []
    for index in range(len(dataset)):
        with torch.no_grad():
            sample = model.test_step(pseudo_collate([dataset[index]]))[0]
        kept = sample.gt_sem_seg.data[0] != 255
        found.append(
            (sample.seg_logits.data[0][kept].double().numpy(), sample.gt_sem_seg.data[0][kept].numpy())
        )
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


@pytest.mark.parametrize('temperature', [None, 3.0])
def test_its_confidence_is_the_probability_of_what_it_predicts(binary, by_hand, temperature, tmp_path):
    from mmseg_tapadl.robustness.sweep import SweepOptions

    odd, labels = by_hand
    predicted = odd > 0.4
    if temperature:
        odd = 1 / (1 + (1 / odd - 1) ** (1 / temperature))
    options = SweepOptions(
        checkpoint=str(binary / 'model.pth'), work_dir=tmp_path, corruptions=['contrast'], severities=[1],
        temperature=temperature,
    )  # fmt: skip
    found = measure(Config.fromfile(binary / 'model.py'), options)['clean']
    # A threshold that is not one half: some predictions are less probable than what they are not.
    sure = np.where(predicted, odd, 1 - odd)
    assert 0 < (sure < 0.5).sum() < sure.size and 0 < predicted.sum() < sure.size
    right = predicted == labels
    levels = np.minimum(np.floor(sure * LEVELS), LEVELS - 1)
    assert found['confidence']['auroc'] == pytest.approx(roc_auc_score(right, levels), abs=2e-4)
    assert found['confidence']['aupr_error'] == pytest.approx(
        average_precision_score(~right, -levels), abs=2e-4
    )
    both = np.stack([1 - odd, odd], axis=1)
    brier = brier_score_loss(labels, both, labels=[0, 1], scale_by_half=False)
    assert found['confidence']['brier'] == pytest.approx(brier, abs=1e-4)
    expected = [[int(((labels == row) & (predicted == column)).sum()) for column in (0, 1)] for row in (0, 1)]
    assert found['confusion'] == expected


def test_it_is_calibrated_as_any_other(binary):
    figures = calibrate(
        MeasuredConfig(Config.fromfile(binary / 'model.py'), str(binary / 'model.pth')), say=lambda text: None
    )
    assert figures['temperature'] > 0 and figures['after']['brier'] is not None
