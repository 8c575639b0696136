"""How sure a model is, in the results of a sweep: against the model's own probabilities, pixel by pixel."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, roc_auc_score

from mmseg_tapadl.evaluation.confidence import LEVELS
from mmseg_tapadl.inference.predictor import prediction_of_sample
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.results import read_results, write_results
from mmseg_tapadl.robustness.sweep_model import build_model
from mmseg_tapadl.utils import SampleError
from tests.robustness.conftest import numbers_of

CONFIDENCE_KEYS = {'ece', 'auroc', 'fpr95', 'aupr_success', 'aupr_error', 'brier'}


@pytest.fixture(scope='module')
def results(finished) -> dict:
    return numbers_of(finished)


@pytest.fixture(scope='module')
def pixels(tiny):
    """By hand: (N, 19) probabilities and (N,) labels of the labelled pixels of a corruption at a severity."""
    config = Config.fromfile(tiny / 'model.py')
    model = build_model(config, str(tiny / 'model.pth'))
    pipeline = config.test_dataloader.dataset.pipeline

    @torch.no_grad()
    def of(corruption: str | None, severity: int = 0):
        inserted = [dict(type='CorruptImage', corruption=corruption, severity=severity)] if corruption else []
        dataset = DATASETS.build(
            {**config.test_dataloader.dataset, 'pipeline': [pipeline[0], *inserted, *pipeline[1:]]}
        )
        found = []
        for index in range(len(dataset)):
            sample = model.test_step(pseudo_collate([dataset[index]]))[0]
            kept = sample.gt_sem_seg.data[0] != 255
            probabilities = sample.seg_logits.data.double().softmax(dim=0)[:, kept].T.numpy()
            found.append((probabilities, sample.gt_sem_seg.data[0][kept].numpy()))
        return tuple(np.concatenate(part) for part in zip(*found, strict=True))

    return of


def assert_same(found: dict, probabilities: np.ndarray, labels: np.ndarray) -> None:
    right = probabilities.argmax(axis=1) == labels
    levels = np.minimum(np.floor(probabilities.max(axis=1) * LEVELS), LEVELS - 1)
    # Another batch moves a probability by its last digits, and with it a pixel to the next level.
    assert found['confidence']['auroc'] == pytest.approx(roc_auc_score(right, levels), abs=2e-4)
    assert found['confidence']['aupr_success'] == pytest.approx(
        average_precision_score(right, levels), abs=2e-4
    )
    assert found['confidence']['aupr_error'] == pytest.approx(
        average_precision_score(~right, -levels), abs=2e-4
    )
    brier = brier_score_loss(labels, probabilities, labels=range(19), scale_by_half=False)
    assert found['confidence']['brier'] == pytest.approx(brier, abs=1e-4)
    assert set(found['confidence']) == CONFIDENCE_KEYS
    theirs = confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(19))
    assert found['confusion'] == theirs.tolist()
    assert sum(row[0] for row in found['reliability']) == labels.size


def test_confidence_and_confusion_are_those_of_the_models_own_probabilities(results, pixels):
    fog = {severity: pixels('fog', severity) for severity in (1, 3)}
    assert_same(results['clean'], *pixels(None))
    assert_same(results['cells'][-1], *fog[3])
    # Pooled: all pixels of both severities, not the mean of two figures.
    assert_same(results['pooled']['fog'], *(np.concatenate(part) for part in zip(*fog.values(), strict=True)))
    assert set(results['pooled']) == {'gaussian_noise', 'fog'}


def test_at_a_temperature_they_are_those_of_the_divided_logits(options, config, pixels):
    found = measure(config, options(corruptions=['fog'], severities=[3], temperature=2.5))
    for cell, (probabilities, labels) in (
        (found['clean'], pixels(None)),
        (found['cells'][0], pixels('fog', 3)),
    ):
        powers = probabilities ** (1 / 2.5)
        assert_same(cell, powers / powers.sum(axis=1, keepdims=True), labels)


def test_the_confusion_matrix_holds_the_counts_behind_the_iou(results):
    for cell in (results['clean'], *results['cells']):
        matrix = np.array(cell['confusion'])
        pixels = {key: list(row.values()) for key, row in cell['pixels'].items()}
        assert matrix.diagonal().tolist() == pixels['right']
        assert matrix.sum(axis=0).tolist() == pixels['predicted']
        assert matrix.sum(axis=1).tolist() == pixels['labelled']


def test_results_without_them_are_read_as_not_known(results, finished, tmp_path):
    old = json.loads((finished / 'robustness.json').read_text())
    for entry in (old['clean'], *old['cells']):
        for key in ('confidence', 'confusion', 'reliability'):
            del entry[key]
    for key in ('pooled', 'conditions', 'worst_corruption'):
        del old[key]
    write_results(old, tmp_path)
    read = read_results(tmp_path / 'robustness.json')
    assert read['clean']['confidence'] is None and read['cells'][0]['confusion'] is None
    assert read['mPC'] == results['mPC'] and read['pooled'] == {}


def test_a_model_that_gives_nan_is_named_with_the_picture_and_finished_cells_are_kept(
    options, config, monkeypatch
):
    seen = []

    def broken(sample):
        prediction = prediction_of_sample(sample)
        seen.append(sample.img_path)
        # The clean cell has 5 pictures; the third of the next breaks.
        if len(seen) == 8:
            prediction.logits[:, 5, 5] = torch.nan
        return prediction

    monkeypatch.setattr('mmseg_tapadl.robustness.measured_model.prediction_of_sample', broken)
    with pytest.raises(SampleError, match=r'NaN.*1 of 5 cells are finished and kept') as told:
        measure(config, options())
    assert Path(seen[-1]).stem.split('_leftImg8bit')[0] in str(told.value)


def test_cells_whose_details_are_gone_are_measured_again(finished, options, config, tmp_path, capsys):
    work = tmp_path / 'copy'
    shutil.copytree(finished, work)
    (work / 'details' / 'fog_3.zip').unlink()
    measure(config, options(work_dir=work))
    assert 'skipped 4 finished cells of 5, 1 left' in capsys.readouterr().out
    assert numbers_of(work) == numbers_of(finished)


def test_a_model_that_does_not_tell_has_none(tiny, tmp_path):
    results = measure(
        lambda image: np.zeros(image.shape[:2], np.int64),
        tiny / 'data',
        corruptions=['fog'],
        severities=[1],
        work_dir=tmp_path,
    )
    assert results['clean']['confidence'] is None and results['pooled']['fog']['confidence'] is None
    assert results['cells'][0]['confusion'][3][0] > 0 and results['cells'][0]['confusion'][3][3] == 0
