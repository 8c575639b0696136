"""A config takes over other data: classes follow everywhere, what belongs to the model stays."""

import copy

import pytest
from mmengine.config import Config

from mmseg_tapadl.agreement import DisagreementError, check_agreement
from mmseg_tapadl.agreement.other_data import take_data
from mmseg_tapadl.agreement.parts import data_sets, heads, transforms
from mmseg_tapadl.datasets.named_data import read_splits
from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.utils import InputError
from tests.agreement.own_set import CLASSES, ROOT, own_config, write_config
from tests.datasets.data_yaml.painted import paint, paint_written, write

ALL = ('train', 'val', 'test')


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    return paint_written(tmp_path_factory.mktemp('data'))


def taken(cfg: Config, data) -> tuple[Config, list[str]]:
    notes = take_data(cfg, read_splits(data), name='data.yaml')
    assert check_agreement(cfg, ('train', 'val')) == [] and check_agreement(cfg, ('test',)) == []
    return cfg, notes


def steps(cfg: Config, split: str) -> list[str]:
    return [part.config['type'] for part in transforms(cfg, split)]


def test_data_and_heads_are_replaced_and_told(file, tmp_path):
    before = own_config(tmp_path)
    cfg, notes = taken(copy.deepcopy(before), file)
    assert notes == [
        '--data data.yaml: 2 classes (road, sky) in place of the 5 of the config',
        'model.decode_head.num_classes is 2, not 5',
    ]
    for split in ALL:
        (leaf,) = data_sets(cfg, split)
        assert leaf.config.type == 'PictureMaskDataset' and leaf.config.split == (
            'train' if split == 'train' else 'val'
        )
        wanted = [
            'MappedLoadAnnotations' if step == 'LoadAnnotations' else step for step in steps(before, split)
        ]
        assert steps(cfg, split) == wanted and 'MappedLoadAnnotations' in wanted
    loader = {**before.train_dataloader, 'dataset': cfg.train_dataloader.dataset}
    assert cfg.train_dataloader == loader
    assert cfg.val_evaluator == before.val_evaluator and cfg.model.backbone == before.model.backbone
    assert 'MappedLoadAnnotations' in str(cfg.tta_pipeline)


def test_the_same_classes_change_no_head(tmp_path):
    text = f'train: images/train\nval: images/val\nmasks: labels\nclasses: {list(CLASSES)}\n'
    data = read_splits(write(tmp_path / 'd.yaml', text), ())
    cfg = own_config(
        tmp_path, 'model = dict(decode_head=dict(loss_decode=dict(class_weight=[1, 2, 1, 1, 1])))'
    )
    assert take_data(cfg, data, name='d.yaml') == []
    assert cfg.model.decode_head.loss_decode.class_weight == [1, 2, 1, 1, 1]


WRAPPED = {
    'repeated': "dict(type='RepeatDataset', times=3, dataset=x)",
    'joined': "dict(type='ConcatDataset', datasets=[x, x])",
    'repeated and joined': "dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[x, x]))",
    'mixed': "dict(type='MultiImageMixDataset', dataset=x, pipeline=[])",
}


@pytest.mark.parametrize('name', WRAPPED)
def test_wrappers(name, file, tmp_path):
    cfg = own_config(tmp_path)
    cfg.train_dataloader.dataset = eval(WRAPPED[name], {'x': cfg.train_dataloader.dataset})
    taken(cfg, file)
    wrapper = cfg.train_dataloader.dataset
    assert wrapper.type == {'joined': 'PictureMaskDataset'}.get(name, wrapper.type)
    (leaf,) = data_sets(cfg, 'train')
    assert leaf.config.type == 'PictureMaskDataset' and 'MappedLoadAnnotations' in steps(cfg, 'train')


@pytest.mark.parametrize('name', WRAPPED)
def test_a_head_of_another_number_than_the_data_of_the_config(name, tmp_path):
    """A config that describes its data itself: an error before anything is built."""
    cfg = own_config(tmp_path, 'model = dict(decode_head=dict(num_classes=19))')
    cfg.train_dataloader.dataset = eval(WRAPPED[name], {'x': cfg.train_dataloader.dataset})
    with pytest.raises(DisagreementError, match=r'model\.decode_head\.num_classes is 19'):
        check_agreement(cfg, ('train', 'val'))


def test_every_head_every_weight_and_every_void(file, tmp_path):
    changes = """
decode = dict(type='SegformerHead', in_channels=[8, 8, 8, 8], in_index=[0, 1, 2, 3], channels=8, dropout_ratio=0.0,
    num_classes=5, norm_cfg=dict(type='BN'), align_corners=False, out_channels=5,
    loss_decode=[dict(type='CrossEntropyLoss', class_weight=[1, 2, 1, 1, 1]), dict(type='DiceLoss', ignore_index=11)])
fcn = dict(type='FCNHead', in_channels=8, in_index=2, channels=8, num_convs=1, num_classes=5, ignore_index=11)
model = dict(type='CascadeEncoderDecoder', num_stages=2, decode_head=[decode, decode], auxiliary_head=[fcn, fcn])
train_dataloader = dict(dataset=dict(ignore_index=11))
val_dataloader = dict(dataset=dict(ignore_index=11))
test_dataloader = val_dataloader
val_evaluator = dict(ignore_index=11)
"""
    base = own_config(tmp_path)
    cfg = Config.fromfile(
        write_config(
            tmp_path / 'heads.py', changes=changes.replace('model = dict(', 'model = dict(_delete_=True, ')
        )
    )
    cfg.model = {**base.model, **cfg.model}
    cfg.model.pop('_delete_', None)
    _, notes = taken(cfg, file)
    assert [head.config.num_classes for head in heads(cfg)] == [2, 2, 2, 2]
    assert 'class_weight' not in str(cfg.model) and 'out_channels=5' not in str(cfg.model)
    used = {key: cfg[key] for key in cfg if key not in ('decode', 'fcn', 'data')}
    assert 'ignore_index=11' not in Config(used).pretty_text
    assert sum('num_classes is 2, not 5' in note for note in notes) == 4
    assert sum('class_weight is left out' in note for note in notes) == 2
    assert 'val_evaluator.ignore_index is 255, not 11' in notes


def test_a_binary_head(file, tmp_path):
    """One output tells two classes apart, and only two."""
    text = 'model = dict(decode_head=dict(num_classes=2, out_channels=1, threshold=0.3, loss_decode=dict(use_sigmoid=True)))'
    cfg, _ = taken(own_config(tmp_path, text), file)
    assert cfg.model.decode_head.out_channels == 1 and cfg.model.decode_head.threshold == 0.3
    three = write(
        file.parent / 'three.yaml',
        file.read_text().replace('ignore: {', 'ignore: {ids: [1], ')
        and file.read_text().replace('ignore: {colors: [[0, 0, 0]]}', '  - {name: night, colors: [0, 0, 0]}'),
    )
    cfg, _ = taken(own_config(tmp_path, text), three)
    assert cfg.model.decode_head.num_classes == 3 and 'out_channels' not in cfg.model.decode_head


def test_a_file_without_val(file, tmp_path):
    data = write(file.parent / 'only_train.yaml', file.read_text().replace('val: val/images\n', ''))
    cfg = own_config(tmp_path)
    take_data(cfg, read_splits(data), name='d')
    assert cfg.val_dataloader is cfg.val_evaluator is cfg.val_cfg is cfg.test_dataloader is None
    assert cfg.default_hooks.checkpoint.save_best is None
    check_agreement(cfg, ('train', 'val'))


def test_metrics_of_one_data_set(file, tmp_path):
    cfg = load_config(ROOT / 'configs/fan_tapadl_acdc.py', data=file)
    assert cfg.test_evaluator == dict(type='PreciseIoUMetric', iou_metrics=['mIoU'])
    assert [leaf.config.type for leaf in data_sets(cfg, 'test')] == ['PictureMaskDataset']


def test_a_config_without_a_pipeline(file, tmp_path):
    with pytest.raises(InputError, match='no val_dataloader with a pipeline'):
        take_data(Config(dict(model=dict(type='EncoderDecoder'))), read_splits(file), name='d')


def test_options_win_over_the_data(file, tmp_path):
    config = write_config(tmp_path / 'own.py')
    cfg = load_config(
        config, ['train_dataloader.dataset.indices=1', 'val_evaluator.iou_metrics=[mDice]'], data=file
    )
    assert cfg.train_dataloader.dataset.indices == 1 and cfg.val_evaluator.iou_metrics == ['mDice']


@pytest.mark.parametrize(
    'name', ['fan_tapadl_camvid', 'segformer_tapadl_cityscapes', 'swin_tapadl_cityscapes', 'dinov2_camvid']
)
def test_shipped_configs_take_data(name, file):
    cfg = load_config(ROOT / f'configs/{name}.py', data=file)
    assert {head.config.num_classes for head in heads(cfg)} == {2}
    check_agreement(cfg, ('train', 'val'))


def test_data_of_another_config(tmp_path):
    """Its loading of labels and its metric go with it; the pipeline around them stays the model's."""
    changes = """
names = ('a', 'b', 'c')
part = dict(type='BaseSegDataset', metainfo=dict(classes=names), pipeline=[
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', imdecode_backend='cv2')])
train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[part, part]))
val_dataloader = dict(dataset=dict(metainfo=dict(classes=names)))
test_dataloader = dict(dataset=dict(metainfo=dict(classes=names)))
val_evaluator = dict(iou_metrics=['mDice'])
"""
    data = read_splits(write_config(tmp_path / 'data.py', changes=changes))
    cfg = own_config(tmp_path)
    before = steps(cfg, 'train')
    notes = take_data(cfg, data, name='data.py')
    assert notes[0].startswith('--data data.py: 3 classes (a, b, c) in place of the 5')
    assert cfg.train_dataloader.dataset.type == 'ConcatDataset' and steps(cfg, 'train') == [*before, *before]
    assert cfg.val_evaluator.iou_metrics == ['mDice'] and cfg.model.decode_head.num_classes == 3


def test_a_config_without_data_is_no_data(tmp_path):
    (tmp_path / 'none.py').write_text("model = dict(type='EncoderDecoder')\n")
    with pytest.raises(InputError, match=r'none\.py has no dataloader'):
        read_splits(tmp_path / 'none.py')


def test_pictures_of_two_sizes_in_one_batch(tmp_path):
    """The sizes of a person's own pictures are compared as those of any other data set."""
    for number, size in enumerate([(64, 48), (48, 64)]):
        paint(tmp_path / f'i/{number}.png', tmp_path / f'm/{number}.png', [0, 1], size=size)
    cfg = own_config(tmp_path)
    cfg.train_dataloader.dataset.pipeline = [
        step for step in cfg.train_dataloader.dataset.pipeline if step.type != 'RandomCrop'
    ]
    data = read_splits(write(tmp_path / 'd.yaml', 'train: i\nmasks: m\nclasses: [a, b]\n'))
    take_data(cfg, data, name='d')
    with pytest.raises(DisagreementError, match='nothing in train_dataloader'):
        check_agreement(cfg, ('train',))
