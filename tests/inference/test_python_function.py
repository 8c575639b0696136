"""Python functions as models: how they are found, what they may return, and what breaks the contract."""

import functools
import os
import sys

import numpy as np
import pytest
import torch

from mmseg_tapadl.inference.adapters.python_function import PythonFunction, load_function
from mmseg_tapadl.inference.checked import PredictionError, checked_predictions
from mmseg_tapadl.inference.open_model import open_model
from mmseg_tapadl.utils import InputError

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
IDS = (PICTURE[..., 0] // 64).astype(np.int64)
SURE = (PICTURE[..., 1] / 255).astype(np.float32)


@pytest.fixture(autouse=True)
def own_modules(monkeypatch):
    """What a test puts on the path and imports is gone afterwards."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(sys, 'modules', dict(sys.modules))


def predict(function, *, num_classes=4):
    (found,) = checked_predictions(PythonFunction(function), [PICTURE], ['a/b.png'], num_classes=num_classes)
    return found


@pytest.mark.parametrize(
    'kind', ['uint8', 'int8', 'int16', '>i2', 'uint16', 'uint32', 'int32', '>i4', 'uint64', 'int64']
)
def test_ids_of_any_integer_type(kind):
    assert np.array_equal(predict(lambda image: IDS.astype(kind)).labels, IDS)


@pytest.mark.parametrize('kind', ['float16', 'float32', '>f4', 'float64', 'longdouble'])
def test_confidence_of_any_floating_type(kind):
    found = predict(lambda image: (IDS, SURE.astype(kind)))
    assert np.allclose(found.confidence.float(), SURE, atol=1e-3) and found.probabilities is None


def test_arrays_of_any_memory_layout_and_tensors():
    for ids in (np.asfortranarray(IDS), IDS[::-1, ::-1][::-1, ::-1], np.broadcast_to(IDS[:, :1], IDS.shape)):
        assert np.array_equal(predict(lambda image, ids=ids: ids).labels, ids)
    for kind in (torch.uint8, torch.int32, torch.uint16):
        assert np.array_equal(predict(lambda image, kind=kind: torch.from_numpy(IDS).to(kind)).labels, IDS)
    sure = torch.from_numpy(SURE).requires_grad_()
    assert not predict(lambda image: (torch.from_numpy(IDS), sure)).confidence.requires_grad


def test_the_picture_of_several_that_is_at_fault_is_named():
    def dies_at_the_second(image):
        if image[0, 0, 0] == 2:
            raise ValueError('enough')
        return image[..., 1] * 0

    pictures = [np.full((4, 5, 3), number, np.uint8) for number in (1, 2, 3)]
    with pytest.raises(PredictionError, match=r'^b\.png: the model failed .*ValueError: enough$'):
        checked_predictions(
            PythonFunction(dies_at_the_second), pictures, ['a.png', 'b.png', 'c.png'], num_classes=4
        )


@pytest.mark.parametrize('as_tensor', [False, True])
def test_a_function_may_use_its_array_again(as_tensor):
    buffer = np.zeros((12, 20), np.int64)
    given = torch.from_numpy(buffer) if as_tensor else buffer

    def count(image):
        buffer[:] += 1
        return given

    first, second = PythonFunction(count).predict([PICTURE, PICTURE])
    assert int(first.labels.max()) == 1 and int(second.labels.max()) == 2


def changes_one_value(image):
    image[3, 4, 1] ^= 1
    return IDS


def ends_the_program(image):
    sys.exit(0)


def dies_in_a_library(image):
    return np.linalg.inv(np.zeros((2, 2)))


def confidence_with(value):
    sure = SURE.copy()
    sure[5, 6] = value
    return lambda image: (IDS, sure)


@pytest.mark.parametrize(
    ('function', 'told'),
    [
        (changes_one_value, 'changed the picture that it was given'),
        (lambda image: IDS.T, r'labels of shape \(20, 12\); the picture needs \(12, 20\)'),
        (lambda image: IDS[..., None], r'labels of shape \(12, 20, 1\)'),
        (lambda image: np.int64(3), r'labels of type int64'),
        (lambda image: IDS.astype(float), 'labels of type torch.float64; whole numbers'),
        (lambda image: IDS.astype(complex), 'labels of type complex128'),
        (lambda image: torch.from_numpy(IDS).to(torch.complex64), 'labels of type torch.complex64'),
        (lambda image: IDS > 1, 'labels of type torch.bool'),
        (lambda image: IDS.astype(object), 'labels of type object'),
        (lambda image: [IDS, SURE], 'labels of type list of 2'),
        (lambda image: (IDS, SURE, SURE), 'labels of type tuple of 3'),
        (lambda image: {'ids': IDS}, 'labels of type dict'),
        (lambda image: (yield IDS), 'labels of type generator'),
        (lambda image: IDS + 1, 'label 4, which is no class: there are 4, 0 to 3'),
        (lambda image: (IDS - 1).astype(np.int8), 'label -1, which is no class'),
        (lambda image: np.where(IDS == 0, 255, IDS).astype(np.uint8), 'label 255, which is no class'),
        (confidence_with(np.nan), 'confidence that are NaN'),
        (confidence_with(np.inf), 'confidence from .* to inf'),
        (confidence_with(1.01), r'confidence from .* to 1\.01'),
        (confidence_with(-0.01), r'confidence from -0\.01 to'),
        (lambda image: (IDS, SURE[:, :-1]), r'confidence of shape \(12, 19\)'),
        (lambda image: (IDS, (SURE * 255).astype(np.uint8)), 'confidence of type torch.uint8'),
        (lambda image: (IDS, SURE.tolist()), 'confidence of type list of 12'),
        (lambda image: (SURE, IDS), 'labels of type torch.float32'),
        (ends_the_program, r'failed \(.*test_python_function\.py, line \d+\): SystemExit: 0'),
        (dies_in_a_library, r'failed \(.*test_python_function\.py, line \d+\): LinAlgError: Singular'),
        (lambda: None, 'failed .*TypeError: .*takes 0 positional arguments'),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_named_with_the_picture(function, told):
    with pytest.raises(PredictionError, match=rf'^a/b\.png: the model .*{told}'):
        predict(function)


def test_what_can_be_named_as_a_model(tmp_path, monkeypatch):
    (tmp_path / 'beside.py').write_text('FACTOR = 64\n')
    (tmp_path / 'own.py').write_text(
        'from dataclasses import dataclass\nimport beside\n\n\n'
        'def predict(image):\n    import beside\n    return image[..., 0] // beside.FACTOR\n\n\n'
        '@dataclass\nclass Model:\n    channel: int = 0\n\n'
        '    def __call__(self, image):\n        return image[..., self.channel] // beside.FACTOR\n\n\n'
        'class Holder:\n    model = Model()\n'
    )
    monkeypatch.chdir(tmp_path)
    expected = IDS
    for spec in ('own.py:predict', f'{tmp_path}/own.py:Holder.model', './own.py:predict'):
        model = open_model(f'python:{spec}')
        assert np.array_equal(model.predict([PICTURE])[0].labels, expected)
    # A module in the current folder, as a program started here would import it.
    module = open_model('python:own:predict')
    assert module.name == 'own:predict' and np.array_equal(module.predict([PICTURE])[0].labels, expected)
    assert module.identity() == load_function('own.py:predict').identity()
    package = tmp_path / 'package'
    package.mkdir()
    (package / '__init__.py').write_text('from package.inner import predict\n')
    (package / 'inner.py').write_text('def predict(image):\n    return image[..., 0] // 64\n')
    assert open_model('python:package.inner:predict').name == 'package.inner:predict'
    assert open_model('python:package:predict').identity()['named file']


@pytest.mark.parametrize(
    ('content', 'name', 'told'),
    [
        (None, 'own.py:predict', r'own\.py: no such file'),
        ('def predict(image):\n  return (\n', 'own.py:predict', r'SyntaxError: .*line 2'),
        ('import nothing_of_this_name\n', 'own.py:predict', 'ModuleNotFoundError'),
        ('raise RuntimeError("two\\nlines")\n', 'own.py:predict', 'RuntimeError: two lines'),
        ('import sys\nsys.exit(0)\n', 'own.py:predict', 'importing .* failed: SystemExit: 0'),
        ('def prediction(image): ...\n', 'own.py:predict', r'has no predict; it has prediction$'),
        ('predict = 3\n', 'own.py:predict', 'own:predict is no function, but int'),
        ('def predict(image): ...\n', 'own.py', 'write python:FILE.py:function'),
        ('def predict(image): ...\n', 'own.py:', 'write python:FILE.py:function'),
        ('def predict(image): ...\n', ':predict', 'write python:FILE.py:function'),
        ('def predict(image): ...\n', 'not_there_either:predict', "No module named 'not_there_either'"),
        ('def predict(image): ...\n', 'own.py:predict.inner', r'has no predict\.inner'),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded(content, name, told, tmp_path, monkeypatch):
    if content is not None:
        (tmp_path / 'own.py').write_text(content)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    with pytest.raises(InputError, match=told) as raised:
        load_function(name)
    assert '\n' not in str(raised.value)
    if 'failed' in str(raised.value):
        assert sys.path == before and 'own' not in sys.modules


def first(image, channel=0):
    return image[..., channel] // 64


def test_what_identifies_a_function(tmp_path):
    def in_an_interpreter(text):
        names = {}
        exec(compile(text, '<stdin>', 'exec'), names)
        return PythonFunction(names['predict']).identity()

    plain, partial = PythonFunction(first), PythonFunction(functools.partial(first, channel=1))
    assert partial.name == 'first' and partial.identity()['sha256'] == plain.identity()['sha256']
    lambdas = [PythonFunction(lambda image: IDS).identity(),
               PythonFunction(lambda image: IDS + 1).identity()]  # fmt: skip
    assert lambdas[0] != lambdas[1]
    one = in_an_interpreter('def predict(image):\n    return [value for value in image]\n')
    same = in_an_interpreter('def predict(image):\n    return [value for value in image]\n')
    other = in_an_interpreter('def predict(image):\n    return [value + 1 for value in image]\n')
    assert one == same != other and one['sha256']
    assert PythonFunction(os.getcwd).identity()['sha256'] is None


def test_what_is_no_prediction_at_all():
    class Model(PythonFunction):
        def predict(self, pictures):
            return self.function

    for given, told in (
        ([IDS], 'the model gave int64; a Prediction is needed'),
        (None, 'NoneType for one picture'),
        ([], 'list of 0 for one picture'),
    ):
        model = Model(first)
        model.function = given
        with pytest.raises(PredictionError, match=rf'^a/b\.png: .*{told}'):
            checked_predictions(model, [PICTURE], ['a/b.png'], num_classes=4)
