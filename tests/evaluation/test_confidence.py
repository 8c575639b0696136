"""Confidence metrics against scikit-learn, against a plain reference pixel by pixel, and by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from mmseg_tapadl.evaluation.class_counts import NO_CLASS, class_counts, counts_of_confusion
from mmseg_tapadl.evaluation.confidence import LEVELS, ConfidenceCounts, ProbabilityError, levels_of
from mmseg_tapadl.evaluation.picture_score import score_picture
from mmseg_tapadl.evaluation.probabilities import confidence_and_error, confidence_of_logits
from mmseg_tapadl.utils import SampleError


def counts_of(confidence, right) -> ConfidenceCounts:
    counts = ConfidenceCounts()
    counts.add(levels_of(torch.as_tensor(confidence)), torch.as_tensor(right))
    return counts


def random_pixels(seed: int, count: int = 4000, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    confidence = random.beta(3, 1, count).astype(np.float32)
    if ties:
        confidence = (np.round(confidence * 12) / 12).astype(np.float32)
    return confidence, random.random(count) < confidence**2


def plain_ece(confidence: np.ndarray, right: np.ndarray) -> float:
    """Pixel by pixel, after the challenge's text: 15 equal bins by the number of the level."""
    levels = np.minimum(np.floor(confidence.astype(np.float64) * 65536), 65535)
    edges = np.array([round(k * 65536 / 15) for k in range(16)])
    bins = np.searchsorted(edges, levels, side='right') - 1
    total = 0.0
    for number in range(15):
        inside = bins == number
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - ((levels[inside] + 0.5) / 65536).mean())
    return total


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(3))
def test_every_metric_is_that_of_scikit_learn(seed, ties):
    confidence, right = random_pixels(seed, ties=ties)
    levels = np.minimum(np.floor(confidence.astype(np.float64) * LEVELS), LEVELS - 1)
    found = counts_of(confidence, right).metrics()
    fpr, tpr, _ = roc_curve(right, levels, drop_intermediate=False)
    assert found == pytest.approx(
        {
            'ece': plain_ece(confidence, right),
            'auroc': roc_auc_score(right, levels),
            'fpr95': fpr[np.argmax(tpr >= 0.95)],
            'aupr_success': average_precision_score(right, levels),
            'aupr_error': average_precision_score(~right, -levels),
            'brier': None,
        },
        abs=1e-12,
    )


def test_levels_are_those_of_16_bit_pictures():
    assert levels_of(torch.tensor([0.0, 0.5 / 65536, 1 / 65536, 0.5, 1.0])).tolist() == [
        0,
        0,
        1,
        32768,
        65535,
    ]
    middles = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    assert torch.equal(levels_of(middles.float()), torch.arange(65536, dtype=torch.int32))


def test_what_is_undefined_is_none():
    assert ConfidenceCounts().metrics() is None
    right = counts_of([0.9, 0.8, 1.0], [True, True, True]).metrics()
    wrong = counts_of([0.9, 0.8, 1.0], [False, False, False]).metrics()
    assert (right['auroc'], right['fpr95'], right['aupr_success'], right['aupr_error']) == (
        None,
        None,
        1.0,
        None,
    )
    assert (wrong['auroc'], wrong['fpr95'], wrong['aupr_success'], wrong['aupr_error']) == (
        None,
        None,
        None,
        1.0,
    )
    assert right['ece'] == pytest.approx(0.1, abs=1e-4) and wrong['ece'] == pytest.approx(0.9, abs=1e-4)


def test_by_hand():
    # From the surest on: right, wrong, right, wrong.
    found = counts_of([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    assert found.metrics() == pytest.approx(
        # Bins of 1/15: 0.9 and 0.8 stand alone, 0.7 and 0.6 too.
        {'ece': (0.1 + 0.8 + 0.3 + 0.6) / 4, 'auroc': 0.75, 'fpr95': 0.5, 'aupr_success': (1 + 2 / 3) / 2,
         'aupr_error': (1 + 2 / 3) / 2, 'brier': None}, abs=1e-4,
    )  # fmt: skip
    assert [bin_[:2] for bin_ in found.reliability() if bin_[0]] == [(1, 0), (1, 1), (1, 0), (1, 1)]


def test_95_percent_are_reached_at_exactly_95_percent():
    # 19 of 20 right pixels come first, then a wrong one, then the last right one.
    confidence = np.linspace(0.99, 0.4, 21)
    found = counts_of(confidence, [True] * 19 + [False] + [True]).metrics()
    assert found['fpr95'] == 0.0


def test_pieces_add_up_to_the_whole_in_any_order():
    logits = torch.randn(6, 40, 50, generator=torch.Generator().manual_seed(0)) * 3
    labelled = torch.randint(0, 6, (40, 50), generator=torch.Generator().manual_seed(1))
    predicted = logits.argmax(dim=0)
    parts = [
        score_picture(
            predicted[i : i + 10], labelled[i : i + 10], num_classes=6, logits=logits[:, i : i + 10]
        ).confidence
        for i in range(0, 40, 10)
    ]
    sums = []
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        total = ConfidenceCounts()
        for number in order:
            total += ConfidenceCounts.unpack(parts[number].pack())
        sums.append(total.metrics())
    assert sums[0] == sums[1]
    whole = score_picture(predicted, labelled, num_classes=6, logits=logits).confidence.metrics()
    assert sums[0] == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize('given', ['logits', 'probabilities'])
def test_a_picture_is_scored_at_its_labelled_pixels(given):
    generator = torch.Generator().manual_seed(2)
    # More pixels than one piece holds.
    logits = torch.randn(5, 150, 160, generator=generator) * 2
    labelled = torch.randint(0, 5, (150, 160), generator=generator)
    labelled[::7] = 255
    probabilities = logits.double().softmax(dim=0)
    predicted = logits.argmax(dim=0)
    value = logits if given == 'logits' else probabilities
    score = score_picture(predicted, labelled, num_classes=5, **{given: value})
    kept = (labelled != 255).numpy()
    truth = labelled.numpy()[kept]
    found = score.confidence.metrics()
    flat = probabilities.numpy()[:, kept].T
    assert found['brier'] == pytest.approx(
        brier_score_loss(truth, flat, labels=range(5), scale_by_half=False), abs=1e-5
    )
    right = predicted.numpy()[kept] == truth
    assert found['auroc'] == pytest.approx(roc_auc_score(right, flat.max(axis=1)), abs=1e-5)
    assert found['ece'] == pytest.approx(plain_ece(flat.max(axis=1), right), abs=1e-5)
    assert score.confusion.sum() == kept.sum() == score.labelled
    assert score.wrong == int((~right).sum())
    theirs = class_counts(predicted, labelled, num_classes=5)
    assert counts_of_confusion(score.confusion).tolist() == theirs.tolist()


def test_the_confusion_matrix_has_labels_as_rows():
    predicted, labelled = torch.tensor([[0, 1, 1, 2]]), torch.tensor([[0, 0, 1, 255]])
    assert score_picture(predicted, labelled, num_classes=3).confusion.tolist() == [
        [1, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
    ]


def test_a_prediction_of_no_class_is_wrong_and_stands_in_a_column_of_its_own():
    predicted, labelled = torch.tensor([[0, NO_CLASS, 1, NO_CLASS]]), torch.tensor([[0, 0, 1, 255]])
    score = score_picture(predicted, labelled, num_classes=2, confidence=torch.full((1, 4), 0.9))
    assert score.confusion.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert (score.labelled, score.wrong) == (3, 1)
    assert score.confidence.levels.sum(axis=1).tolist() == [1, 2]
    assert counts_of_confusion(score.confusion).tolist() == [[1, 1], [1, 1], [2, 1]]
    with pytest.raises(SampleError, match='class 2 was predicted'):
        score_picture(torch.where(predicted == NO_CLASS, 2, predicted), labelled, num_classes=2)


def test_half_precision_and_masked_classes_keep_their_probability():
    logits = torch.tensor([[12.0, 1.0], [11.0, -torch.inf], [0.0, 1.0]])
    exact = logits.double().softmax(dim=0)
    predicted, labelled = torch.tensor([0, 2]), torch.tensor([1, 0])
    for kind in (torch.float32, torch.float16):
        confidence, error = confidence_and_error(
            logits.to(kind), predicted, labelled, torch.tensor([True, True])
        )
        assert confidence.tolist() == pytest.approx([float(exact[0, 0]), 0.5], rel=1e-6)
        onehot = torch.nn.functional.one_hot(labelled, 3).T
        assert error == pytest.approx(float((exact - onehot).square().sum()), rel=1e-5)
    assert torch.equal(
        confidence_of_logits(logits, predicted), confidence_of_logits(logits.double(), predicted)
    )


def test_what_are_no_probabilities_is_named_with_the_picture():
    labels = torch.zeros(2, 2, dtype=torch.long)
    score = dict(num_classes=2, source='ulm_17.png')
    broken = torch.zeros(2, 2, 2)
    broken[0, 1, 1] = math.nan
    with pytest.raises(ProbabilityError, match=r'ulm_17.png.*NaN'):
        score_picture(labels, labels, logits=broken, **score)
    with pytest.raises(ProbabilityError, match=r'ulm_17.png.*NaN'):
        score_picture(labels, labels, probabilities=broken, **score)
    with pytest.raises(ProbabilityError, match=r'ulm_17.png.*sum to 1 \(a pixel has 0.8\)'):
        score_picture(labels, labels, probabilities=torch.full((2, 2, 2), 0.4), **score)
    with pytest.raises(ProbabilityError, match=r'ulm_17.png.*from 0 to 255'):
        score_picture(labels, labels, confidence=torch.tensor([[0.0, 255.0], [1.0, 1.0]]), **score)
    with pytest.raises(SampleError, match=r'ulm_17.png: class 2 was predicted'):
        score_picture(labels + 2, labels, **score)
