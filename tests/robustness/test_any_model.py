"""Models that no config of mmseg describes, measured beside the same model under its config."""

import io
import json
import re
import runpy
import sys
import zipfile

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmseg_tapadl.datasets.named_data import read_data
from mmseg_tapadl.inference.checked import PredictionError, checked_predictions
from mmseg_tapadl.inference.interface import PicturePredictor, Prediction
from mmseg_tapadl.inference.open_model import open_model
from mmseg_tapadl.inference.predictor import Predictor
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.cell_data import with_test_data
from mmseg_tapadl.robustness.cell_store import SweepMismatch
from mmseg_tapadl.utils import InputError
from tests.inference.tiny_transformers import mask2former, save, segformer

CHOICE = dict(corruptions=['gaussian_noise', 'fog'], severities=[1, 3])
ONE = dict(corruptions=['contrast'], severities=[1])


def thirds(image):
    """A model of three classes by place alone."""
    rows = np.arange(image.shape[0]) * 3 // image.shape[0]
    return np.broadcast_to(rows[:, None], image.shape[:2]).astype(np.int64)


@pytest.fixture(scope='module')
def plain(tiny):
    """The tiny model as a function; its pictures need no bringing to size."""
    return Predictor(Config.fromfile(tiny / 'model.py'), tiny / 'model.pth', device='cpu')


def test_a_function_gives_the_numbers_of_the_config(tiny, finished, plain, tmp_path):
    seen = []

    def predict(image):
        seen.append((image.shape, image.dtype, image.flags.c_contiguous))
        return plain.labels(np.ascontiguousarray(image[:, :, ::-1]))

    found = measure(predict, tiny / 'data', work_dir=tmp_path, **CHOICE)
    config = json.loads((finished / 'robustness.json').read_text())
    assert [cell['pixels'] for cell in [found['clean'], *found['cells']]] == [
        cell['pixels'] for cell in [config['clean'], *config['cells']]
    ]
    for cell in ('gaussian_noise_3', 'fog_3'):  # of the highest severity copies are kept
        mine, theirs = (labels_in(folder / 'details' / f'{cell}.zip') for folder in (tmp_path, finished))
        assert len(mine) == 5 and mine == theirs
    assert set(seen) == {((48, 64, 3), np.dtype('uint8'), True)}
    assert found['model']['kind'] == 'python' and len(found['model']['sha256']) == 64
    assert 'kind: python' in (tmp_path / 'report.html').read_text()


def labels_in(details):
    """The label map of every picture of a cell, not reduced: none is longer than 256 pixels."""
    with zipfile.ZipFile(details) as archive:
        found = [archive.read(name) for name in sorted(archive.namelist()) if 'prediction' in name]
    maps = [np.asarray(Image.open(io.BytesIO(content))) for content in found]
    assert {ids.shape for ids in maps} == {(48, 64)}
    return [ids.tobytes() for ids in maps]


def test_a_predictor_and_a_config_for_its_data(tiny, finished, plain, tmp_path):
    found = measure(plain, tiny / 'model.py', work_dir=tmp_path, name='as a predictor', **CHOICE)
    config = json.loads((finished / 'robustness.json').read_text())
    assert found['name'] == 'as a predictor'
    assert found['clean']['pixels'] == config['clean']['pixels'] and found['mPC'] == config['mPC']


def test_going_on_and_another_model(tiny, tmp_path, capsys):
    (tmp_path / 'one.py').write_text('def predict(image):\n    return image[..., 0] // 16\n')
    first = measure(
        open_model(f'python:{tmp_path}/one.py:predict'), tiny / 'data', work_dir=tmp_path / 'w', **ONE
    )
    assert first['name'] == 'one:predict'
    assert measure(
        open_model(f'python:{tmp_path}/one.py:predict'), tiny / 'data', work_dir=tmp_path / 'w', **ONE
    )
    assert 'skipped 2 finished cells of 2' in capsys.readouterr().out
    (tmp_path / 'one.py').write_text('def predict(image):\n    return image[..., 1] // 16\n')
    with pytest.raises(SweepMismatch, match='model sha256'):
        measure(
            open_model(f'python:{tmp_path}/one.py:predict'), tiny / 'data', work_dir=tmp_path / 'w', **ONE
        )


def changes(image):
    image[:] = 0
    return thirds(image)


def half_a_confidence(image):
    sure = np.full(image.shape[:2], 0.5, np.float32)
    sure[3, 4] = np.nan
    return thirds(image), sure


@pytest.mark.parametrize(
    ('predict', 'told'),
    [
        (changes, 'changed the picture'),
        (lambda image: thirds(image)[:-1], r'labels of shape \(47, 64\); the picture needs \(48, 64\)'),
        (lambda image: thirds(image) + 17, 'label 19, which is no class'),
        (lambda image: 1 / 0, r'failed \(.*test_any_model.py, line \d+\): ZeroDivisionError'),
        (half_a_confidence, 'confidence that are NaN'),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_named_with_the_picture(predict, told, tiny, tmp_path):
    """Every other way: tests/inference/test_python_function.py."""
    with pytest.raises(PredictionError, match=rf'aachen_000000_leftImg8bit\.png: .*{told}.*0 of 2 cells'):
        measure(predict, tiny / 'data', work_dir=tmp_path, **ONE)


class OfProbabilities(PicturePredictor):
    """Gives what it was made with, for every pixel."""

    name = 'made up'

    def __init__(self, values, *, as_logits=False, classes=None):
        self.values, self.as_logits, self.classes = values, as_logits, classes

    def predict(self, pictures):
        (picture,) = pictures
        values = torch.tensor(self.values)[:, None, None].expand(-1, *picture.shape[:2])
        labels = values.nan_to_num().argmax(0)
        return [Prediction(labels, **{'logits' if self.as_logits else 'probabilities': values})]

    def identity(self):
        return {'kind': 'made up'}


@pytest.mark.parametrize(
    ('values', 'as_logits', 'told'),
    [
        ([0.2] * 19, False, 'do not sum to 1 .a pixel has 3.8'),
        ([float('nan')] + [0.0] * 18, False, 'probabilities that are NaN'),
        ([1.5, -0.5] + [0.0] * 17, False, 'probabilities from -0.5 to 1.5'),
        ([1.0] + [0.0] * 17, False, r'probabilities of 18 classes; the labels have 19'),
        ([float('nan')] + [0.0] * 18, True, 'logits that are NaN'),
        ([0.0] * 20, True, 'logits of 20 classes'),
    ],
)
def test_probabilities_are_looked_at(values, as_logits, told):
    model = OfProbabilities(values, as_logits=as_logits)
    with pytest.raises(PredictionError, match=rf'^p\.png: .*{told}'):
        checked_predictions(model, [np.zeros((4, 5, 3), np.uint8)], ['p.png'], num_classes=19)


def test_a_death_in_the_middle_keeps_what_is_finished(tiny, tmp_path):
    calls = []

    def predict(image):
        calls.append(1)
        if len(calls) == 8:
            raise RuntimeError('out of luck')
        return thirds(image)

    with pytest.raises(
        PredictionError, match=r'aachen_000004.*RuntimeError: out of luck.*1 of 2 cells are finished'
    ):
        measure(predict, tiny / 'data', work_dir=tmp_path, **ONE)
    measure(predict, tiny / 'data', work_dir=tmp_path, **ONE)


def test_classes_are_found_by_name(tiny, tmp_path, capsys):
    names = read_names(tiny)
    other = tuple(reversed([name.upper().replace(' ', '_') for name in names]))
    values = [0.05] * 19
    values[other.index('SKY')] = 0.1
    mapped = measure(OfProbabilities(values, classes=other), tiny / 'data', work_dir=tmp_path / 'a', **ONE)
    assert 'TRAFFIC_LIGHT -> traffic light' in capsys.readouterr().out
    assert mapped['clean']['pixels']['predicted']['sky'] == sum(
        mapped['clean']['pixels']['labelled'].values()
    )
    assert mapped['model']['renamed_classes']['SKY'] == 'sky'

    renamed = tuple('heaven' if name == 'SKY' else name for name in other)
    with pytest.raises(
        InputError, match=r'classes that the data set does not have: heaven\..*--class-map FILE'
    ):
        measure(OfProbabilities(values, classes=renamed), tiny / 'data', work_dir=tmp_path / 'b', **ONE)
    told = measure(
        OfProbabilities(values, classes=renamed),
        tiny / 'data',
        work_dir=tmp_path / 'b',
        class_map={'heaven': 'sky'},
        **ONE,
    )
    assert told['clean'] == mapped['clean']
    with pytest.raises(InputError, match=r'made up lacks classes of the data set: bicycle'):
        measure(
            OfProbabilities([0.1] * 18, classes=tuple(names[:-1])),
            tiny / 'data',
            work_dir=tmp_path / 'c',
            **ONE,
        )
    with pytest.raises(InputError, match='names hell, which made up does not have'):
        measure(
            OfProbabilities(values, classes=other),
            tiny / 'data',
            work_dir=tmp_path / 'd',
            class_map={'hell': 'sky'},
            **ONE,
        )


def test_a_class_that_the_data_set_does_not_have_is_always_wrong(tiny, tmp_path, capsys):
    """A 20th class, wherever a picture is red: the same numbers as from counts made by hand."""
    names = (*read_names(tiny), 'boat')

    class Boats(OfProbabilities):
        def predict(self, pictures):
            (picture,) = pictures
            ids = torch.from_numpy(picture[..., 0] // 16).long()
            sure = torch.full(ids.shape, 0.5)
            return [Prediction(torch.where(ids > 8, 19, ids), confidence=sure)]

    found = measure(
        Boats([], classes=names), tiny / 'data', work_dir=tmp_path, class_map={'boat': None}, **ONE
    )
    assert 'boat -> none of the data set' in capsys.readouterr().out
    right, predicted, labelled, boats = (np.zeros(19, int), np.zeros(19, int), np.zeros(19, int), 0)
    for path in sorted((tiny / 'data/leftImg8bit/val').rglob('*.png')):
        label = (
            str(path).replace('leftImg8bit/val', 'gtFine/val').replace('leftImg8bit', 'gtFine_labelTrainIds')
        )
        truth, ids = np.asarray(Image.open(label)), np.asarray(Image.open(path))[..., 0] // 16
        counted = truth != 255
        boats += int((counted & (ids > 8)).sum())
        for number in range(19):
            labelled[number] += (truth == number).sum()
            predicted[number] += (counted & (ids == number) & (ids <= 8)).sum()
            right[number] += ((truth == number) & (ids == number) & (ids <= 8)).sum()
    assert boats > 100
    iou = 100 * right / (labelled + predicted - right)
    clean = found['clean']
    assert clean['mIoU'] == pytest.approx(iou.mean())
    assert clean['aAcc'] == pytest.approx(100 * right.sum() / labelled.sum())
    assert list(clean['pixels']['labelled'].values()) == labelled.tolist()
    confusion = np.array(clean['confusion'])
    assert confusion.shape == (19, 19) and labelled.sum() - confusion.sum() == boats
    none = np.array(clean['predicted_none'])
    assert (confusion.sum(axis=1) + none == labelled).all() and none.sum() == boats
    assert sum(found['pooled']['contrast']['predicted_none']) > 0
    assert clean['confidence']['ece'] == pytest.approx(abs(0.5 - right.sum() / labelled.sum()), abs=1e-4)
    # The pictures' share of what is wrong counts them, too: five pictures of two cells.
    page = (tmp_path / 'report.html').read_text()
    shares = [float(share) for share in re.findall(r'([\d.]+) %</b> of the loss', page)]
    assert len(shares) == 10 and sum(shares) == pytest.approx(200, abs=0.5)
    assert '→ none of the classes' in page


@pytest.mark.parametrize('build', [segformer, mask2former], ids=lambda build: build.__name__)
def test_a_folder_of_transformers_is_measured(build, tiny, tmp_path):
    names = {number: name.title().replace(' ', '-') for number, name in enumerate(read_names(tiny))}
    save(build, tmp_path / 'model', names)
    model = open_model(f'hf:{tmp_path}/model', device='cpu')
    found = measure(model, tiny / 'data', work_dir=tmp_path / 'work', **ONE)
    assert found['model']['renamed_classes']['Traffic-Light'] == 'traffic light'
    assert found['model']['input_sizes'] == {'segformer': ['32x64'], 'mask2former': ['64x64']}[build.__name__]
    confusion = np.zeros((19, 19), int)
    for path in (tiny / 'data/leftImg8bit/val').rglob('*.png'):
        label = (
            str(path).replace('leftImg8bit/val', 'gtFine/val').replace('leftImg8bit', 'gtFine_labelTrainIds')
        )
        truth = np.asarray(Image.open(label))
        (one,) = model.predict([np.asarray(Image.open(path))])
        np.add.at(confusion, (truth[truth < 19], one.labels.numpy()[truth < 19]), 1)
    assert found['clean']['confusion'] == confusion.tolist()
    for cell in (found['clean'], *found['cells']):
        if build is segformer:
            assert set(cell['confidence']) == {'ece', 'auroc', 'fpr95', 'aupr_success', 'aupr_error', 'brier'}
            assert all(0 <= value <= 2 for value in cell['confidence'].values())
        else:
            assert cell['confidence'] is None


def read_names(tiny):
    from mmseg.datasets import CityscapesDataset

    return list(CityscapesDataset.METAINFO['classes'])


@pytest.mark.parametrize(
    ('name', 'told'),
    [('gone', 'no such folder or config'), ('', 'neither leftImg8bit/val'), ('a.txt', 'must be a folder')],
)
def test_data_that_are_none(name, told, tmp_path):
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(InputError, match=told):
        read_data(tmp_path / name)


def test_the_command_line_measures_a_function(tiny, run_tool, tmp_path):
    (tmp_path / 'mine.py').write_text('def predict(image):\n    return image[..., 0] // 16\n')
    (tmp_path / 'map.yaml').write_text('a: road\n')
    arguments = ('--corruptions', 'contrast', '--severities', 1, '--work-dir', tmp_path / 'work')
    run_tool(
        'test_robustness.py',
        '--model',
        f'python:{tmp_path}/mine.py:predict',
        '--data',
        tiny / 'data',
        *arguments,
    )
    found = json.loads((tmp_path / 'work/robustness.json').read_text())
    expected = measure(
        lambda image: image[..., 0] // 16, tiny / 'data', work_dir=tmp_path / 'expected', **ONE
    )
    assert found['clean'] == expected['clean'] and found['name'] == 'mine:predict'


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['--model', 'hf:x'], '--model needs --data'),
        (['--model', 'hf:x', '--data', 'd', 'c.py'], 'not both'),
        (['c.py'], 'CONFIG and CHECKPOINT are needed'),
        (['c.py', 'd.pth', '--pre', 'level5'], 'unrecognized arguments: --pre level5'),
        (['c.py', 'd.pth', '--class-map', 'f'], '--class-map goes with --model'),
    ],
)
def test_command_lines_that_mean_nothing(words, told, repo_root, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        parsed(repo_root, monkeypatch, *words)
    assert stopped.value.code == 2 and told in capsys.readouterr().err


def test_old_command_lines_mean_what_they_meant(repo_root, monkeypatch):
    args = parsed(repo_root, monkeypatch, 'c.py', '--data-root', 'files', 'd.pth', '--seed', '3')
    assert (args.config, args.checkpoint, args.pregenerated, args.data) == ('c.py', 'd.pth', 'files', None)


def parsed(repo_root, monkeypatch, *words):
    monkeypatch.setattr('sys.path', list(sys.path))
    monkeypatch.setattr('sys.argv', ['test_robustness.py', *words])
    return runpy.run_path(str(repo_root / 'tools/test_robustness.py'))['parse_args']()


def test_a_config_on_other_data(tiny, finished, options, config, tmp_path):
    """Its own pipeline on the folder that is named: here the same pictures, so the same numbers."""
    changed = with_test_data(config, tiny / 'data')
    found = measure(changed, options(corruptions=['fog'], severities=[1]))
    same = json.loads((finished / 'robustness.json').read_text())
    assert found['clean']['pixels'] == same['clean']['pixels']
    assert changed.test_dataloader.dataset.pipeline == config.test_dataloader.dataset.pipeline
