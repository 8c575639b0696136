"""Counts and percentages against mmseg's own metric and by hand."""

import math

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmseg_tapadl.evaluation.class_counts import (
    NO_CLASS,
    class_counts,
    counted_pixels,
    counts_of_confusion,
    percentages,
    score_sample,
)
from mmseg_tapadl.evaluation.picture_score import score_picture
from mmseg_tapadl.utils import SampleError


def test_counts_are_those_of_mmseg():
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randint(0, 7, (33, 47), generator=generator)
    labelled = torch.randint(0, 7, (33, 47), generator=generator)
    labelled[::5] = 255
    right, predicted_as, labelled_as = class_counts(predicted, labelled, num_classes=7)
    theirs = IoUMetric.intersect_and_union(predicted, labelled, 7, 255)
    assert right.tolist() == theirs[0].tolist()
    assert predicted_as.tolist() == theirs[2].tolist()
    assert labelled_as.tolist() == theirs[3].tolist()


def test_percentages_by_hand():
    # Two classes that occur, one that is only predicted, one that is neither.
    predicted = torch.tensor([[0, 0, 1, 2]])
    labelled = torch.tensor([[0, 1, 1, 1]])
    scores = percentages(class_counts(predicted, labelled, num_classes=4))
    assert scores.iou[:3].tolist() == [50.0, pytest.approx(100 / 3), 0.0]
    assert math.isnan(scores.iou[3])
    assert scores.miou == pytest.approx((50 + 100 / 3 + 0) / 3)
    assert scores.aacc == 50.0
    assert scores.acc[0] == 100.0 and math.isnan(scores.acc[2])


def test_nothing_labelled_is_undefined_not_zero():
    scores = percentages(np.zeros((3, 4)))
    assert math.isnan(scores.miou) and math.isnan(scores.aacc)


@pytest.mark.parametrize('value', [19, 33, 254])
def test_a_label_that_is_no_class_is_refused_by_name(value):
    labelled = torch.zeros(4, 5, dtype=torch.long)
    labelled[1, 1] = value
    with pytest.raises(SampleError, match=rf'x_labelIds.png.*\[{value}\]'):
        class_counts(torch.zeros(4, 5, dtype=torch.long), labelled, num_classes=19, source='x_labelIds.png')


def test_a_label_of_another_size_or_none_is_refused_by_name():
    with pytest.raises(SampleError, match=r'a.png.*\(4, 5\).*\(5, 4\)'):
        class_counts(torch.zeros(5, 4), torch.zeros(4, 5), num_classes=2, source='a.png')
    with pytest.raises(SampleError, match=r'b.png has no label.*without labels'):
        score_sample(
            {'img_path': 'b.png', 'pred_sem_seg': {'data': torch.zeros(1, 4, 4)}},
            num_classes=2,
            ignore_index=255,
        )


@pytest.mark.parametrize(
    ('label', 'void', 'advice'),
    [
        (255, 11, 'if 255 is void, write ignore_index=255 there, or leave it out'),
        (11, 255, 'if 11 is void, write ignore_index=11 in the data set'),
        (33, 11, 'are these labelIds instead of labelTrainIds?'),
        (200, 11, 'correct the label, or the number of classes'),
    ],
)
def test_the_advice_fits_the_value(label, void, advice):
    labels = torch.tensor([[0, label]])
    with pytest.raises(SampleError) as caught:
        counted_pixels(
            labels * 0, labels, num_classes=11, ignore_index=void, void_source='test_evaluator.ignore_index'
        )
    assert f'label values [{label}] are neither a class (0 to 10) nor {void}' in str(caught.value)
    assert str(caught.value).endswith(f'the id of void by test_evaluator.ignore_index; {advice}')


@pytest.mark.parametrize('value', [11, 19, 255, -2])
def test_a_prediction_that_is_no_class_is_refused_by_name_wherever_it_is_counted(value):
    labels = torch.tensor([[0, 255, 3]])
    predicted = torch.tensor([[0, value, 3]])
    # Where nothing counts, nothing is looked at.
    assert class_counts(predicted, labels, num_classes=11)[0].sum() == 2
    predicted = torch.tensor([[0, 0, value]])
    told = rf'a\.png: class {value} was predicted, the data set has 11 \(0 to 10\)'
    sample = {
        'img_path': 'a.png', 'pred_sem_seg': {'data': predicted[None]}, 'gt_sem_seg': {'data': labels[None]},
    }  # fmt: skip
    for count in (
        lambda: class_counts(predicted, labels, num_classes=11, source='a.png'),
        lambda: score_picture(predicted, labels, num_classes=11, source='a.png'),
        lambda: score_sample(sample, num_classes=11, ignore_index=255),
    ):
        with pytest.raises(SampleError, match=told):
            count()


def test_no_class_is_always_wrong():
    labels, predicted = torch.tensor([[0, 1, 1, 255]]), torch.tensor([[0, NO_CLASS, 1, NO_CLASS]])
    score = score_picture(predicted, labels, num_classes=2)
    assert score.confusion.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert (score.labelled, score.wrong) == (3, 1)
    counts = counts_of_confusion(score.confusion)
    assert (
        counts.tolist() == class_counts(predicted, labels, num_classes=2).tolist() == [[1, 1], [1, 1], [1, 2]]
    )
    assert percentages(counts).iou.tolist() == [100.0, 50.0]
