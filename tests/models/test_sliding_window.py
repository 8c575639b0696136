"""Whole-picture testing against mmseg's own, on the same weights."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models.segmentors import EncoderDecoder

from mmseg_tapadl.layers.budget import use_budget
from mmseg_tapadl.models.segmentors import sliding_window
from tests.device import DEVICE
from tests.models.builders import batch, build_segmentor


@pytest.fixture(scope='module')
def model():
    segmentor = build_segmentor().eval()
    segmentor.test_cfg = ConfigDict(mode='slide', crop_size=(64, 64), stride=(48, 48))
    return segmentor


@pytest.mark.parametrize('at_once', [1, 3])
@pytest.mark.parametrize(
    ('num_images', 'height', 'width'),
    [(1, 112, 160), (2, 97, 131), (1, 64, 64), (1, 40, 150), (1, 33, 50)],
    ids=['fits', 'moved back', 'one window', 'low picture', 'below a window'],
)
def test_equals_mmsegs_own(model, at_once, num_images, height, width):
    pictures, samples = batch(num_images, height, width)
    metas = [sample.metainfo for sample in samples]
    before = copy.deepcopy(metas)
    with torch.no_grad(), use_budget(DEVICE, windows=at_once):
        ours = model.slide_inference(pictures, metas)
        assert metas == before
        assert all(type(meta['img_shape']) is tuple for meta in metas)
        theirs = EncoderDecoder.slide_inference(model, pictures, copy.deepcopy(metas))
    # Windows one by one meet the same operations in the same order; together, batches round differently.
    tolerance = 0 if at_once == 1 else 1e-4
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_windows_worked_out_by_hand():
    windows = list(sliding_window.sliding_windows((4, 11), (4, 5), (2, 4)))
    assert windows == [(slice(0, 4), slice(start, start + 5)) for start in (0, 4, 6)]


@pytest.mark.parametrize('stride', [(0, 48), (48, 65)])
def test_a_stride_that_leaves_gaps(stride):
    with pytest.raises(ValueError, match=r'stride=.*crop_size'):
        list(sliding_window.sliding_windows((100, 100), (64, 64), stride))
