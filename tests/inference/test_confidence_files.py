"""Confidence as 16-bit pictures: the probability of the class beside it."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmseg_tapadl.inference.adapters.python_function import PythonFunction
from mmseg_tapadl.inference.label_files import predict_files
from mmseg_tapadl.inference.predictor import _loaded
from mmseg_tapadl.inference.temperature import Temperature
from mmseg_tapadl.utils import InputError
from tests.inference.own_data import picture


def test_the_files_hold_the_softmax_probability_of_the_predicted_class(own, predictor, tmp_path):
    list(predictor.predict_files(own / 'data/images', tmp_path, confidence=True))
    for side in ('left', 'right'):
        with Image.open(tmp_path / f'confidence/{side}/0001.png') as image:
            assert image.mode.startswith('I;16')
            levels = np.array(image).astype(np.int64)
        labels = np.array(Image.open(tmp_path / f'labels/{side}/0001.png'))
        bgr = np.array(Image.open(own / f'data/images/{side}/0001.png').convert('RGB'))[:, :, ::-1].copy()
        sample = _loaded(bgr)
        for step in predictor._transforms:
            sample = step(sample)
        with torch.no_grad():
            logits = predictor.model.test_step(pseudo_collate([sample]))[0].seg_logits.data
        probabilities = logits.double().softmax(dim=0).numpy()
        expected = np.take_along_axis(probabilities, labels[None].astype(int), 0)[0]
        assert np.abs((levels + 0.5) / 65536 - expected).max() < 2 / 65536
    list(predictor.predict_files(own / 'data/images', tmp_path / 'plain'))
    assert not (tmp_path / 'plain/confidence').exists()


def test_a_temperature_changes_the_confidence_and_no_label(own, predictor, tmp_path):
    source = own / 'data/images/left'
    list(predictor.predict_files(source, tmp_path / 'usual', confidence=True))
    list(predictor.predict_files(source, tmp_path / 'at 4', confidence=True, temperature=Temperature(4.0)))
    usual, tempered = (
        [(path.name, np.array(Image.open(path))) for path in sorted((tmp_path / name / kind).rglob('*.png'))]
        for kind in ('confidence',)
        for name in ('usual', 'at 4')
    )
    for folder in ('labels', 'overlays'):
        for path in sorted((tmp_path / 'usual' / folder).rglob('*.png')):
            assert (
                path.read_bytes() == (tmp_path / 'at 4' / path.relative_to(tmp_path / 'usual')).read_bytes()
            )
    (_, picture), (name, levels) = usual[0], tempered[0]
    bgr = np.array(Image.open(source / name).convert('RGB'))[:, :, ::-1].copy()
    (prediction,) = predictor.predict([bgr[:, :, ::-1]])
    expected = (prediction.logits.double() / 4).softmax(dim=0).amax(dim=0).numpy()
    assert np.abs((levels.astype(np.int64) + 0.5) / 65536 - expected).max() < 2 / 65536
    assert levels.mean() < picture.mean()
    with pytest.raises(InputError, match='was fitted for other weights'):
        list(
            predictor.predict_files(
                source, tmp_path / 'no', confidence=True, temperature=Temperature(4.0, weights='0' * 64)
            )
        )
    assert not (tmp_path / 'no').exists()


def test_what_a_function_tells_is_written_and_what_it_does_not_tell_is_refused(tmp_path):
    picture(1).save(tmp_path / 'a.png')

    def sure(image):
        confidence = np.full(image.shape[:2], 0.25, np.float32)
        confidence[0, 0] = 1.0
        return np.zeros(image.shape[:2], np.int64), confidence

    def silent(image):
        return np.zeros(image.shape[:2], np.int64)

    for function, out in ((sure, 'sure'), (silent, 'silent')):
        model = PythonFunction(function)
        model.classes = ('road', 'sky')
        if function is sure:
            list(predict_files(model, tmp_path / 'a.png', tmp_path / out, confidence=True))
        else:
            with pytest.raises(InputError, match=r'a\.png: the model gives no probabilities'):
                list(predict_files(model, tmp_path / 'a.png', tmp_path / out, confidence=True))
    levels = np.array(Image.open(tmp_path / 'sure/confidence/a.png'))
    assert levels[0, 0] == 65535 and (levels.ravel()[1:] == 16384).all()
    assert not (tmp_path / 'silent').exists()
