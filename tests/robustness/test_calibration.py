"""The temperature of a model: fitted on one half of the pictures, reported on the other, and applied."""

import json
import os
import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmseg_tapadl.datasets.named_data import read_data
from mmseg_tapadl.evaluation.class_counts import SampleError
from mmseg_tapadl.inference.interface import Prediction
from mmseg_tapadl.inference.predictor import Predictor
from mmseg_tapadl.inference.temperature import read_temperature
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.calibration import calibrate
from mmseg_tapadl.robustness.cell_store import SweepMismatch
from mmseg_tapadl.robustness.measured_model import MeasuredConfig, MeasuredPredictor
from mmseg_tapadl.utils import InputError, write_json
from tests.robustness.tiny_model import make_tree

ONE = dict(corruptions=['contrast'], severities=[1])


@pytest.fixture(scope='module')
def figures(tiny) -> dict:
    return calibrate(
        MeasuredConfig(Config.fromfile(tiny / 'model.py'), str(tiny / 'model.pth')), say=lambda text: None
    )


@pytest.fixture
def fitted(figures, tmp_path):
    """What the tool writes."""
    write_json(tmp_path / 'temperature.json', figures)
    return tmp_path / 'temperature.json'


def test_the_other_half_is_better_calibrated(figures, tiny, capsys):
    assert (figures['fitted_on'], figures['reported_on']) == (3, 2)
    # The random model is far too sure of what it does not know.
    assert figures['temperature'] > 2 and figures['before']['ece'] > 0.5
    assert figures['after']['ece'] < figures['before']['ece'] / 2
    assert figures['after']['brier'] < figures['before']['brier']
    assert set(figures['before']) == set(figures['after'])
    calibrate(MeasuredConfig(Config.fromfile(tiny / 'model.py'), str(tiny / 'model.pth')))
    assert 'of 3 pictures' in capsys.readouterr().out


def test_the_tool_writes_what_it_prints(tiny, figures, run_tool, tmp_path):
    done = run_tool(
        'calibrate.py',
        tiny / 'model.py',
        tiny / 'model.pth',
        '--data',
        tiny / 'data',
        '--out',
        tmp_path / 't.json',
    )
    written = json.loads((tmp_path / 't.json').read_text())
    assert f'temperature {written["temperature"]:.4f}' in done.stdout
    assert f'{written["before"]["ece"]:8.4f}  {written["after"]["ece"]:8.4f}' in done.stdout
    assert written['temperature'] == pytest.approx(figures['temperature'])


def test_the_tool_takes_other_models(tiny, run_tool, tmp_path):
    (tmp_path / 'mine.py').write_text('def predict(image):\n    return image[..., 0] // 16\n')
    done = run_tool(
        'calibrate.py', '--model', f'python:{tmp_path}/mine.py:predict', '--data', tiny / 'data', ok=False
    )
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert (
        'aachen_000000_leftImg8bit.png: the model gives neither logits nor all probabilities' in done.stderr
    )


@pytest.mark.parametrize(
    ('tool', 'words', 'told'),
    [
        ('calibrate.py', ['--model', 'hf:x'], '--model needs --data'),
        ('calibrate.py', ['c.py'], 'CONFIG and CHECKPOINT are needed'),
        ('calibrate.py', ['c.py', 'd.pth', '--class-map', 'f'], '--class-map goes with --model'),
        (
            'predict.py',
            ['c.py', 'd.pth', 'a.png', '--out', 'o', '--temperature', '2'],
            'goes with --confidence',
        ),
    ],
)
def test_command_lines_that_mean_nothing(tool, words, told, repo_root, monkeypatch, capsys):
    monkeypatch.setattr('sys.path', list(sys.path))
    monkeypatch.setattr('sys.argv', [tool, *words])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(repo_root / 'tools' / tool))['parse_args']()
    assert stopped.value.code == 2 and told in capsys.readouterr().err


class Reordered(Predictor):
    """The same model with its classes the other way round, its logits divided."""

    kind, divisor = 'logits', 1.0

    def predict(self, pictures):
        found = []
        for prediction in super().predict(pictures):
            logits = prediction.logits.flip(0) / self.divisor
            values = logits if self.kind == 'logits' else logits.softmax(dim=0)
            found.append(Prediction(18 - prediction.labels, **{self.kind: values}))
        return found


@pytest.fixture
def drawn_at_three(tiny, tmp_path):
    """A data set whose labels were drawn from the tiny model's probabilities at temperature 3, and a config for it."""
    root = make_tree(tmp_path / 'data', 4)
    model = Predictor(Config.fromfile(tiny / 'model.py'), tiny / 'model.pth', device='cpu')
    generator = torch.Generator().manual_seed(0)
    for path in sorted((root / 'leftImg8bit').rglob('*.png')):
        (prediction,) = model.predict([np.asarray(Image.open(path))])
        probabilities = (prediction.logits / 3).softmax(dim=0).flatten(1).T
        labels = torch.multinomial(probabilities, 1, generator=generator).view(48, 64)
        label = (
            str(path).replace('leftImg8bit.png', 'gtFine_labelTrainIds.png').replace('leftImg8bit', 'gtFine')
        )
        Image.fromarray(labels.numpy().astype(np.uint8)).save(label)
    config = Config.fromfile(tiny / 'model.py')
    config.test_dataloader.dataset.data_root = str(root)
    return root, config


def test_whatever_the_order_of_the_classes_and_the_form_of_the_probabilities(drawn_at_three, tiny):
    root, config = drawn_at_three
    model = Reordered(config, tiny / 'model.pth', device='cpu')
    model.classes = tuple(reversed(model.classes))

    def fitted(measured=None, **changes):
        vars(model).update(changes)
        measured = measured or MeasuredPredictor(model, read_data(root), name='reordered')
        return calibrate(measured, say=lambda text: None)

    expected = fitted(MeasuredConfig(config, str(tiny / 'model.pth')))
    assert expected['temperature'] == pytest.approx(3, rel=0.1)
    assert expected['after']['ece'] < 0.03 < expected['before']['ece']
    same = fitted()
    assert same['temperature'] == pytest.approx(expected['temperature'], rel=1e-3)
    assert same['after'] == pytest.approx(expected['after'], abs=1e-3)
    assert (same['weights'], same['pictures']) == (expected['weights'], expected['pictures'])
    for kind in ('logits', 'probabilities'):
        divided = fitted(divisor=20.0, kind=kind)
        assert divided['temperature'] == pytest.approx(expected['temperature'] / 20, rel=1e-2)
        assert divided['after'] == pytest.approx(expected['after'], abs=1e-2)


def test_a_temperature_is_applied_and_no_label_changes(finished, figures, fitted, options, config):
    found = measure(config, options(temperature=fitted))
    usual = json.loads((finished / 'robustness.json').read_text())
    assert usual['temperature'] is None
    assert found['temperature'] == {
        'value': figures['temperature'], 'file': str(fitted), 'fitted_on_half_of_these': True,
    }  # fmt: skip
    for mine, theirs in zip(
        [found['clean'], *found['cells']], [usual['clean'], *usual['cells']], strict=True
    ):
        assert mine['pixels'] == theirs['pixels'] and mine['confusion'] == theirs['confusion']
        assert mine['confidence']['ece'] < theirs['confidence']['ece'] / 2
    page = (options().work_dir / 'report.html').read_text()
    assert f'a temperature of {figures["temperature"]:.4g} ({fitted}, fitted on one half of these' in page


def test_cells_at_another_temperature_are_never_taken(finished, options, config, tmp_path):
    work = tmp_path / 'copy'
    shutil.copytree(finished, work)
    with pytest.raises(SweepMismatch, match=r'\(temperature: not known then, 2\.5 now\)'):
        measure(config, options(work_dir=work, temperature=2.5))
    measure(config, options(temperature=2.5, **ONE))
    for other, told in ((None, 'none'), (2.6, '2.6')):
        with pytest.raises(SweepMismatch, match=rf'temperature: 2\.5 then, {told} now'):
            measure(config, options(temperature=other, **ONE))
    # The same number, however it is given.
    measure(config, options(temperature='2.5', **ONE))


def test_the_temperature_of_another_model_is_refused(fitted, figures, options, config, tiny, tmp_path):
    weights = torch.load(tiny / 'model.pth')
    weights['state_dict']['decode_head.conv_seg.bias'] += 1
    torch.save(weights, tmp_path / 'other.pth')
    other = str(tmp_path / 'other.pth')
    with pytest.raises(
        InputError, match=r'temperature\.json: was fitted for other weights .*or give the number'
    ):
        measure(config, options(checkpoint=other, temperature=fitted, **ONE))
    assert not options().work_dir.exists()
    measure(config, options(checkpoint=other, temperature=figures['temperature'], **ONE))


def test_a_model_without_probabilities_has_no_temperature(tiny, tmp_path):
    def predict(image):
        return image[..., 0].astype(np.int64) // 16, np.full(image.shape[:2], 0.5)

    with pytest.raises(
        InputError, match=r'aachen_000000_leftImg8bit\.png: the model gives neither logits nor all'
    ):
        measure(predict, tiny / 'data', work_dir=tmp_path, temperature=2, **ONE)


@pytest.mark.parametrize('told', ['0', '-1', 'nan', 'inf', '1e9', 0.0, True - 1])
def test_numbers_that_are_no_temperature(told):
    with pytest.raises(InputError, match=r'must be a number from 0\.001 to 1000'):
        read_temperature(told)


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        ('{"temperature": 0}', 'from 0.001 to 1000'),
        ('{"temperature": "2"}', "its temperature is '2', not a number"),
        ('{"temperature": true}', 'its temperature is True, not a number'),
        ('{"T": 2}', 'has no "temperature"'),
        ('[2]', 'has no "temperature"'),
        ('{', 'is no file of tools/calibrate.py'),
        ('\xff', 'is no file of tools/calibrate.py'),
        (None, 'must be a number or a file of tools/calibrate.py'),
    ],
)
def test_files_that_are_no_temperature(content, told, tmp_path):
    if content is not None:
        (tmp_path / 't.json').write_bytes(content.encode('latin-1'))
    with pytest.raises(InputError, match=rf't\.json: .*{told}'):
        read_temperature(tmp_path / 't.json')
    assert read_temperature('1.5').value == read_temperature(1.5).value == 1.5


def test_wrong_labels_are_named_in_both_halves(tiny, tmp_path):
    root = make_tree(tmp_path / 'data')
    config = Config.fromfile(tiny / 'model.py')
    config.test_dataloader.dataset.data_root = str(root)
    for label in sorted((root / 'gtFine').rglob('*.png'))[:2]:
        whole = label.read_bytes()
        ids = np.array(Image.open(label))
        ids[10, 10] = 33
        Image.fromarray(ids).save(label)
        with pytest.raises(SampleError, match=rf'{label.name}.*\[33\]'):
            calibrate(MeasuredConfig(config, str(tiny / 'model.pth')), say=lambda text: None)
        label.write_bytes(whole)


def test_a_half_without_labels_is_refused(tiny, tmp_path):
    root = make_tree(tmp_path / 'data', 2)
    config = Config.fromfile(tiny / 'model.py')
    config.test_dataloader.dataset.data_root = str(root)
    model = MeasuredConfig(config, str(tiny / 'model.pth'))
    first, second = sorted((root / 'gtFine').rglob('*.png'))
    for label, told in (
        (second, 'in the half of the pictures that is reported on'),
        (first, 'to fit a temperature on'),
    ):
        whole = label.read_bytes()
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(label)
        with pytest.raises(InputError, match=f'no labelled pixel {told}'):
            calibrate(model, say=lambda text: None)
        label.write_bytes(whole)
    for path in [*root.rglob('ulm_*.png')]:
        os.unlink(path)
    with pytest.raises(InputError, match='two are needed'):
        calibrate(model, say=lambda text: None)
