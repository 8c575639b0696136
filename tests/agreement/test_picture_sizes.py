"""Sizes in a training batch against the size that batches are padded to."""

import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_tapadl.agreement import DisagreementError, check_agreement
from tests.agreement.own_set import own_config, write_pictures

CROP = dict(type='RandomCrop', crop_size=(40, 40))
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


def config(tmp_path, *steps: dict, root='nowhere', size=(40, 40), batch=2):
    cfg = own_config(tmp_path)
    cfg.train_dataloader.dataset.pipeline = [*LOAD, *steps, dict(type='PackSegInputs')]
    cfg.train_dataloader.dataset.data_root = str(root)
    cfg.train_dataloader.batch_size = batch
    cfg.model.data_preprocessor.size = size
    return cfg


def fault_of(cfg) -> str:
    with pytest.raises(DisagreementError) as caught:
        check_agreement(cfg, ('train', 'val'))
    return str(caught.value)


def test_crops_larger_than_the_padding(tmp_path):
    text = fault_of(config(tmp_path, dict(CROP, crop_size=(48, 32))))
    assert 'train_dataloader.dataset.pipeline.2.crop_size is (48, 32)' in text
    assert 'write model.data_preprocessor.size=(48, 32)' in text


def test_no_crop_and_pictures_of_two_sizes(tmp_path):
    root = write_pictures(tmp_path / 'data', sizes=((64, 48), (48, 64)))
    text = fault_of(config(tmp_path, root=root))
    assert f'{root}/images/train/p0.png is 64x48 and {root}/images/train/p1.png is 48x64' in text
    assert "add dict(type='RandomCrop', crop_size=(40, 40)), or write train_dataloader.batch_size=1" in text


def test_random_sizes_without_a_crop(tmp_path):
    resize = dict(type='RandomResize', scale=(64, 48), ratio_range=(0.5, 2.0), keep_ratio=True)
    assert 'draws sizes up to (96, 128) and no crop follows' in fault_of(config(tmp_path, resize))


@pytest.mark.parametrize(
    'cfg',
    [
        dict(steps=[CROP]),
        dict(steps=[dict(CROP, crop_size=(48, 48))], batch=1),
        dict(steps=[dict(CROP, crop_size=(30, 30))]),
        dict(steps=[dict(type='Resize', scale=(64, 48), keep_ratio=False)]),
        dict(steps=[dict(type='Resize', scale=(64, 48)), dict(CROP, crop_size=(48, 48))]),
        dict(
            steps=[dict(type='RandomResize', scale=(64, 48), ratio_range=(0.5, 2.0), keep_ratio=True), CROP]
        ),
        dict(steps=[], size=(64, 64)),
        dict(steps=[], batch=1),
    ],
)
def test_what_can_be_stacked_passes(tmp_path, cfg):
    root = write_pictures(tmp_path / 'data', sizes=((64, 48), (48, 64)))
    steps = cfg.pop('steps')
    assert check_agreement(config(tmp_path, *steps, root=root, **cfg), ('train', 'val')) == []


def test_pictures_of_one_size_need_no_crop(tmp_path):
    root = write_pictures(tmp_path / 'data')
    assert check_agreement(config(tmp_path, root=root), ('train', 'val')) == []
    assert check_agreement(config(tmp_path, root='nowhere'), ('train', 'val')) == []


def test_padding_to_a_multiple_takes_any_sizes(tmp_path):
    root = write_pictures(tmp_path / 'data', sizes=((64, 48), (48, 64)))
    cfg = config(tmp_path, root=root, size=None)
    cfg.model.data_preprocessor.size_divisor = 32
    assert check_agreement(cfg, ('train', 'val')) == []
    cfg.model.data_preprocessor.size_divisor = None
    assert 'states neither of size and size_divisor' in fault_of(cfg)
    cfg.model.data_preprocessor.update(size=(40, 40), size_divisor=32)
    assert 'states both of size and size_divisor' in fault_of(cfg)


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('color_type', ['color', 'color_ignore_orientation'])
@pytest.mark.parametrize('suffix', ['.jpg', '.webp'])
@pytest.mark.parametrize('stored', [((120, 90), (120, 90)), ((120, 90), (90, 120))])
def test_turned_pictures_have_the_sizes_that_the_loader_gives(tmp_path, backend, color_type, suffix, stored):
    root = write_pictures(tmp_path / 'data')
    cfg = config(tmp_path, root=root)
    loading = dict(type='LoadImageFromFile', imdecode_backend=backend, color_type=color_type)
    cfg.train_dataloader.dataset.pipeline[0] = loading
    cfg.train_dataloader.dataset.img_suffix = suffix
    sizes = set()
    for number, (tag, size) in enumerate(zip((1, 6), stored, strict=True)):
        path = root / f'images/train/p{number}{suffix}'
        exif = Image.Exif()
        exif[0x0112] = tag
        Image.new('RGB', size).save(path, exif=exif.tobytes())
        sizes.add(TRANSFORMS.build(loading)({'img_path': str(path)})['img'].shape)
    if len(sizes) == 1:
        assert check_agreement(cfg, ('train', 'val')) == []
    else:
        assert 'nothing in train_dataloader.dataset.pipeline makes them one size' in fault_of(cfg)
