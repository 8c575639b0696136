"""Exported files: the same numbers as PyTorch, taken by the benchmark and by predict.py, refused where they differ."""

import json

import cv2
import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from mmseg_tapadl.export.onnx_export import export_onnx
from mmseg_tapadl.export.pictures import pictures_to_compare_on
from mmseg_tapadl.export.proof import Proof, check_proof
from mmseg_tapadl.export.whole_model import WholeModel
from mmseg_tapadl.inference.adapters.onnx_file import OnnxFile
from mmseg_tapadl.inference.open_model import open_model
from mmseg_tapadl.inference.predictor import Predictor
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.utils import InputError

CHOICE = dict(corruptions=['contrast', 'fog'], severities=[3])


@pytest.fixture(scope='module')
def config(tiny):
    """This project's encoder, which loads the checkpoint of mmseg's unchanged."""
    config = Config.fromfile(tiny / 'model.py')
    config.model.backbone.type = 'TAPMixVisionTransformer'
    return config


@pytest.fixture(scope='module')
def exported(tiny, config, tmp_path_factory):
    """A file for any size, and its proof."""
    out = tmp_path_factory.mktemp('exported') / 'model.onnx'
    proof = export_onnx(
        config,
        tiny / 'model.pth',
        out,
        pictures=pictures_to_compare_on(config),
        data=tiny / 'data',
        dynamic=True,
    )
    return out, proof


def test_the_proof_is_written_beside_the_file(exported):
    out, proof = exported
    facts = json.loads((out.parent / 'model.onnx.json').read_text())
    assert facts['proof']['agreement'] == proof.agreement >= 0.999
    assert facts['proof']['largest_difference'] < 1e-3 and facts['proof']['seconds_onnx'] > 0
    # Other sizes than that of the export, and two pictures at once.
    assert len(set(proof.sizes)) > 1
    assert sorted(path.name for path in out.parent.iterdir()) == ['model.onnx', 'model.onnx.json']


def test_the_graph_and_its_metadata(exported):
    graph = onnx.load(exported[0])
    told = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(told['names'])[:2] == ['road', 'sidewalk'] and len(json.loads(told['palette'])) == 19
    assert (told['input'], told['mean'], told['size'], told['output']) == (
        'rgb',
        '[0.0, 0.0, 0.0]',
        'null',
        'logits',
    )
    assert graph.graph.output[0].name == 'logits'
    onnx.checker.check_model(graph)


def test_the_benchmark_gives_the_numbers_of_the_config(exported, tiny, config, tmp_path):
    found = measure(open_model(f'onnx:{exported[0]}'), tiny / 'data', work_dir=tmp_path / 'onnx', **CHOICE)
    expected = measure(
        Predictor(config, tiny / 'model.pth', device='cpu'),
        tiny / 'data',
        work_dir=tmp_path / 'torch',
        **CHOICE,
    )
    for mine, theirs in zip(
        [found['clean'], *found['cells']], [expected['clean'], *expected['cells']], strict=True
    ):
        assert mine['mIoU'] == pytest.approx(theirs['mIoU'], abs=0.01)
    assert found['model']['input_sizes'] == ['48x64'] and found['model']['kind'] == 'onnx'


def test_predict_takes_the_file(exported, tiny, run_tool, tmp_path):
    run_tool(
        'predict.py', '--model', f'onnx:{exported[0]}', tiny / 'data/leftImg8bit/val/ulm', '--out', tmp_path
    )
    predictor = OnnxFile(exported[0], device='cpu')
    for path in (tiny / 'data/leftImg8bit/val/ulm').iterdir():
        labels = np.asarray(Image.open(tmp_path / 'labels' / path.name))
        (expected,) = predictor.predict([np.asarray(Image.open(path))])
        assert np.array_equal(labels, expected.labels)


def test_a_file_for_one_size_brings_pictures_to_it(tiny, config, run_tool, tmp_path):
    """By the tool; the names and colours are those that the checkpoint holds."""
    out = tmp_path / 'new' / 'small.onnx'
    config.dump(tmp_path / 'model.py')
    names = [f'thing {number}' for number in range(19)]
    weights = torch.load(tiny / 'model.pth', weights_only=True)
    torch.save({**weights, 'meta': {'dataset_meta': {'classes': names}}}, tmp_path / 'named.pth')
    done = run_tool(
        'export.py', tmp_path / 'model.py', tmp_path / 'named.pth', '--out', out, '--size', 32, 48,
        '--pictures', tiny / 'data/leftImg8bit/val/ulm',
    )  # fmt: skip
    assert 'compared on 2 pictures (32x48)' in done.stdout and '100.0000 % of the pixels agree' in done.stdout
    assert sorted(path.name for path in out.parent.iterdir()) == ['small.onnx', 'small.onnx.json']
    assert OnnxFile(out, device='cpu').classes == tuple(names)
    picture = pictures_to_compare_on(config)[0]
    (found,) = OnnxFile(out, device='cpu').predict([picture])
    brought = cv2.resize(picture, (48, 32), interpolation=cv2.INTER_LINEAR)
    predictor = Predictor(config, tiny / 'model.pth', device='cpu')
    model = WholeModel(predictor.model)
    with torch.no_grad():
        logits = model(torch.from_numpy(brought.transpose(2, 0, 1)[None].astype(np.float32)))
    expected = torch.nn.functional.interpolate(
        logits, picture.shape[:2], mode='bilinear', align_corners=False
    )[0]
    assert (found.labels == expected.argmax(0)).float().mean() > 0.999
    assert found.confidence.min() > 1 / 19


@pytest.mark.parametrize(
    'changes', [{}, dict(bgr_to_rgb=False), dict(mean=None, std=None)], ids=['rgb', 'bgr', 'as it is']
)
def test_the_whole_model_is_what_mmseg_predicts(tiny, config, changes):
    config = Config(config.to_dict())
    config.model.data_preprocessor.update(changes)
    predictor = Predictor(config, tiny / 'model.pth', device='cpu')
    picture = pictures_to_compare_on(config)[0]
    with torch.no_grad():
        logits = WholeModel(predictor.model)(
            torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32))
        )
    (expected,) = predictor.predict([picture])
    assert torch.equal(logits[0].argmax(0), expected.labels)


@pytest.mark.parametrize(('difference', 'agreement'), [(0.5, 1.0), (float('inf'), 1.0), (1e-6, 0.99)])
def test_what_does_not_agree_is_refused(difference, agreement, tmp_path):
    proof = Proof(['8x8'], difference, 4.0, agreement, 0.1, 0.1, 1)
    with pytest.raises(InputError, match='does not agree with PyTorch, so it was not written'):
        check_proof(proof, tmp_path / 'a.onnx', dynamic=False)


def test_nothing_is_left_of_a_file_that_does_not_agree(tiny, config, tmp_path, monkeypatch):
    forward = WholeModel.forward

    def other_in_torch(self, picture):
        logits = forward(self, picture)
        return logits if torch.compiler.is_exporting() else logits.flip(1)

    monkeypatch.setattr(WholeModel, 'forward', other_in_torch)
    (tmp_path / 'a.onnx').write_text('what stood there')
    with pytest.raises(InputError, match='does not agree'):
        export_onnx(config, tiny / 'model.pth', tmp_path / 'a.onnx', pictures=pictures_to_compare_on(config))
    assert [path.name for path in tmp_path.iterdir()] == ['a.onnx']
    assert (tmp_path / 'a.onnx').read_text() == 'what stood there'


def test_what_is_refused_before_an_export(tiny, config, tmp_path):
    padded = Config(config.to_dict())
    padded.model.data_preprocessor.test_cfg = dict(size_divisor=32)
    with pytest.raises(InputError, match='pads pictures'):
        export_onnx(padded, tiny / 'model.pth', tmp_path / 'a.onnx', pictures=pictures_to_compare_on(config))
    threshold = Config(config.to_dict())
    threshold.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.3)
    model = MODELS.build(threshold.model)
    torch.save(model.state_dict(), tmp_path / 'threshold.pth')
    with pytest.raises(InputError, match='gives 1 logits for 2 classes'):
        export_onnx(
            threshold,
            tmp_path / 'threshold.pth',
            tmp_path / 'a.onnx',
            pictures=pictures_to_compare_on(config),
        )
    pictures = pictures_to_compare_on(config)
    wrong = Config(config.to_dict())
    wrong.model.decode_head.chanels = 3
    for given, out, told in (
        (Config(dict(test_dataloader=None)), 'a.onnx', 'has no model'),
        (wrong, 'a.onnx', r'model\.decode_head .* cannot be built: TypeError: .*chanels'),
        (config, '.', 'is a folder'),
        (config, 'threshold.pth', r'is there and no \.onnx file'),
    ):
        with pytest.raises(InputError, match=told):
            export_onnx(given, tiny / 'model.pth', tmp_path / out, pictures=pictures)
    with pytest.raises(InputError, match='height and width must be at least 1'):
        export_onnx(config, tiny / 'model.pth', tmp_path / 'a.onnx', pictures=pictures, size=(0, 8))
    assert not (tmp_path / 'a.onnx').exists()
    swin = Config(config.to_dict())
    swin.model.backbone.type = 'TAPSwin'
    with pytest.raises(InputError, match='TAPSwin cannot be exported for any size'):
        export_onnx(
            swin,
            tiny / 'model.pth',
            tmp_path / 'a.onnx',
            pictures=pictures_to_compare_on(config),
            dynamic=True,
        )


def test_pictures_that_are_not_there(config, tmp_path):
    """A config's own may be elsewhere: one is painted. What is named must be there."""
    elsewhere = Config(config.to_dict())
    elsewhere.test_dataloader.dataset.data_root = str(tmp_path)
    (painted,) = pictures_to_compare_on(elsewhere)
    assert painted.dtype == np.uint8 and painted.std() > 10
    wrapped = Config(config.to_dict())
    wrapped.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[config.test_dataloader.dataset])
    assert len(pictures_to_compare_on(config, data=wrapped)) == 3
    for given in (dict(source=tmp_path), dict(data=tmp_path)):
        with pytest.raises(InputError):
            pictures_to_compare_on(config, **given)
