"""Pictures in, label maps and overlays out: any name, any kind of picture, any file of weights."""

import copy
import os
import shutil
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
from mmseg.apis import inference_model, init_model
from PIL import Image

from mmseg_tapadl.checkpoints.checkpoint_io import read_checkpoint, write_checkpoint
from mmseg_tapadl.checkpoints.publishing import publish
from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.inference.predictor import Predictor
from mmseg_tapadl.utils import InputError
from tests.inference.own_data import CLASSES, picture, write_pair


def predict(predictor, source, out):
    return {path.name: labels for path, labels in predictor.predict_files(source, out)}


def test_labels_are_those_of_mmseg(own, predictor):
    """Against mmseg's own inference on the same weights."""
    cfg = load_config(own / 'own.py')
    model = init_model(cfg, device='cpu')
    model.load_state_dict(torch.load(own / 'own.pth', weights_only=True))
    bgr = cv2.imread(str(own / 'data/images/left/0001.png'))
    expected = inference_model(model, bgr).pred_sem_seg.data[0].numpy()
    labels, seen = predictor.label_file(own / 'data/images/left/0001.png')
    assert len(np.unique(expected)) > 2 and labels.dtype == np.uint8
    assert np.array_equal(labels, expected) and np.array_equal(predictor.labels(bgr), expected)
    assert np.array_equal(seen, bgr)


@pytest.mark.parametrize(
    'name', [b'stra\xdfe_01.png', ('街景' * 40 + '01.png').encode(), b'x' * 251 + b'.png']
)
def test_every_name_of_a_picture_is_read_and_written(predictor, tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), b'in', name)
    os.mkdir(os.path.dirname(path))
    with open(path, 'wb') as file:
        picture(3).save(file, format='PNG')
    assert len(predict(predictor, tmp_path / 'in', tmp_path / 'out')) == 1
    for kind in ('labels', 'overlays'):
        assert os.listdir(os.fsencode(tmp_path / 'out' / kind)) == [name]


def test_a_second_run_never_labels_its_own_results(predictor, tmp_path):
    picture(1).save(tmp_path / 'a.png')
    for out in ('out', 'out', 'other', '.'):
        assert list(predict(predictor, tmp_path, tmp_path / out)) == ['a.png']
    assert len(list(tmp_path.rglob('*.png'))) == 7


def test_nothing_is_written_over_pictures_and_labels(predictor, tmp_path):
    write_pair(tmp_path, 'a.png', 1)
    with pytest.raises(InputError, match=r'labels/a\.png is there already'):
        predict(predictor, tmp_path / 'images', tmp_path)
    (tmp_path / 'images').rename(tmp_path / 'overlays')
    (tmp_path / 'labels').rename(tmp_path / 'kept')
    with pytest.raises(InputError, match='belongs to the data'):
        predict(predictor, tmp_path / 'overlays', tmp_path)
    picture(2).save(tmp_path / 'overlays/a.jpg')
    with pytest.raises(InputError, match=r'a\.jpg.*a\.png would share'):
        predict(predictor, tmp_path / 'overlays', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_turned_pictures_are_predicted_and_shown_upright(predictor, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    large = picture(5)
    turned = large.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / 'a.jpg', quality=100, subsampling=0, exif=exif.tobytes())
    labels = predict(predictor, tmp_path / 'a.jpg', tmp_path / 'out')['a.jpg']
    assert labels.shape == (32, 40)
    overlay = np.asarray(Image.open(tmp_path / 'out/overlays/a.png'))[:32].astype(float)
    colours = np.array(predictor.palette)[labels]
    assert np.abs(overlay - (0.45 * np.asarray(large) + 0.55 * colours)).max() < 12


@pytest.mark.parametrize('content', [b'', b'hello', b'\x89PNG\r\n\x1a\n'])
def test_what_is_no_picture_is_named(predictor, tmp_path, content):
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(InputError, match=r'a\.png: not a readable picture'):
        predict(predictor, tmp_path, tmp_path / 'out')


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_published_file_is_predicted_with(own, predictor, tmp_path, suffix):
    palette = [[number, 2 * number, 255 - number] for number in range(11)]
    meta = {'iter': 2, 'dataset_meta': {'classes': [f'own {n}' for n in range(11)], 'palette': palette}}
    write_checkpoint({'state_dict': read_checkpoint(own / 'own.pth'), 'meta': meta}, tmp_path / 'iter_2.pth')
    published = publish(tmp_path / 'iter_2.pth', tmp_path / f'model{suffix}')
    ready = Predictor(load_config(own / 'own.py'), published, device='cpu')
    assert ready.classes == tuple(meta['dataset_meta']['classes']) and ready.palette == palette
    path = own / 'data/images/left/0001.png'
    assert np.array_equal(ready.label_file(path)[0], predictor.label_file(path)[0])


def described(kind):
    if kind == 'wrapped':
        return lambda dataset: dict(
            type='ConcatDataset', datasets=[dict(type='RepeatDataset', times=1, dataset=dataset)]
        )
    if kind == 'palette':
        return lambda dataset: {
            **dataset,
            'metainfo': dict(classes=CLASSES, palette=[[n, n, n] for n in range(11)]),
        }
    if kind == 'class':
        return lambda dataset: {**dataset, 'type': 'CamVidLike', 'metainfo': None}
    return lambda dataset: {**dataset, 'metainfo': None}


@pytest.mark.parametrize('kind', ['wrapped', 'palette', 'class', 'nothing'])
def test_bare_weights_get_names_and_colours_from_the_config(own, kind):
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS

    class CamVidLike(BaseSegDataset):
        METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=[[n, 0, n] for n in range(11)])

    DATASETS.register_module(module=CamVidLike, force=True)
    cfg = load_config(own / 'own.py')
    cfg.test_dataloader.dataset = described(kind)(cfg.test_dataloader.dataset.to_dict())
    ready = Predictor(cfg, own / 'own.pth', device='cpu')
    assert ready.classes == (CLASSES if kind != 'nothing' else tuple(f'class {n}' for n in range(11)))
    assert len({tuple(colour) for colour in ready.palette}) == 11
    if kind in ('palette', 'class'):
        assert list(map(list, ready.palette)) == [[n, n * (kind == 'palette'), n] for n in range(11)]


def test_names_of_the_file_get_the_colours_of_the_data_set(own, tmp_path):
    """As older published files are: classes without colours, maybe in another order."""
    cfg = load_config(own / 'own.py')
    cfg.test_dataloader.dataset.metainfo = dict(classes=CLASSES, palette=[[n, n, n] for n in range(11)])
    meta = {'dataset_meta': {'classes': list(reversed(CLASSES))}}
    write_checkpoint({'state_dict': read_checkpoint(own / 'own.pth'), 'meta': meta}, tmp_path / 'old.pth')
    ready = Predictor(cfg, tmp_path / 'old.pth', device='cpu')
    assert ready.classes == tuple(reversed(CLASSES))
    assert list(ready.palette) == [[n, n, n] for n in reversed(range(11))]


def test_a_preprocessor_beside_the_model_counts(own, predictor):
    from mmseg_tapadl.robustness.sweep_model import build_model

    cfg = load_config(own / 'own.py')
    cfg.data_preprocessor = cfg.model.pop('data_preprocessor')
    before = copy.deepcopy(cfg.to_dict())
    ready = Predictor(cfg, own / 'own.pth', device='cpu')
    path = own / 'data/images/left/0001.png'
    assert np.array_equal(ready.label_file(path)[0], predictor.label_file(path)[0])
    mean = predictor.model.data_preprocessor.mean
    assert torch.equal(build_model(cfg, str(own / 'own.pth'), device='cpu').data_preprocessor.mean, mean)
    assert cfg.to_dict() == before  # a sweep is identified by the config as written


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', 'model.', 'ema.module.'])
def test_weights_behind_wrappers_are_seen_through(own, predictor, tmp_path, prefix):
    weights = {f'{prefix}{key}': value for key, value in read_checkpoint(own / 'own.pth').items()}
    torch.save({'state_dict': weights}, tmp_path / 'wrapped.pth')
    ready = Predictor(load_config(own / 'own.py'), tmp_path / 'wrapped.pth', device='cpu')
    for one, other in zip(ready.model.parameters(), predictor.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_config_s_own_loading_is_used(own, tmp_path):
    """Five bands that only tifffile reads, of which the model takes what the config says."""
    tifffile = pytest.importorskip('tifffile')
    bands = np.dstack([np.asarray(picture(4))] * 2)[..., :5]
    tifffile.imwrite(tmp_path / 'a.tif', bands, photometric='minisblack', planarconfig='contig')
    cfg = load_config(own / 'own.py')
    loader = dict(type='LoadImageFromFile', imdecode_backend='tifffile', color_type='unchanged')
    cfg.test_dataloader.dataset.pipeline[0] = loader
    cfg.model.data_preprocessor = dict(type='SegDataPreProcessor')
    cfg.model.backbone.in_channels = 5
    weights = read_checkpoint(own / 'own.pth')
    first = 'backbone.layers.0.0.projection.weight'
    weights[first] = torch.cat([weights[first], weights[first][:, :2]], 1)
    torch.save(weights, tmp_path / 'bands.pth')
    ready = Predictor(cfg, tmp_path / 'bands.pth', device='cpu')
    labels = predict(ready, tmp_path / 'a.tif', tmp_path / 'out')['a.tif']
    assert labels.shape == (32, 40)
    shutil.rmtree(tmp_path / 'out')
