"""Numbers are about the classes that the weights know, in their order, or there are none."""

import pytest

from mmseg_tapadl.agreement import ClassesDifferError, DisagreementError, check_agreement
from tests.agreement.own_set import CLASSES, own_config

SWAPPED = ('building', 'sky', *CLASSES[2:])


def faults_of(cfg, splits=('train', 'val'), **given) -> str:
    with pytest.raises(DisagreementError) as caught:
        check_agreement(cfg, splits, **given)
    return str(caught.value)


def classes(split: str, names) -> str:
    return f'{split}_dataloader = dict(dataset=dict(metainfo=dict(classes={tuple(names)!r})))'


def test_the_plain_config_agrees(tmp_path):
    for splits in (('train', 'val'), ('test',), ()):
        assert check_agreement(own_config(tmp_path), splits, weights='w.pth', trained=CLASSES) == []


@pytest.mark.parametrize(
    'names, first',
    [
        (SWAPPED, "class 0 is 'sky' in the first and 'building' in the second"),
        (CLASSES[:3], "class 3 is 'car' in the first and missing in the second"),
        ((*CLASSES, 'bicycle'), "class 5 is 'bicycle' in the second and missing in the first"),
    ],
)
def test_validation_and_test_on_other_classes(tmp_path, names, first):
    text = faults_of(own_config(tmp_path, classes('val', names)))
    assert 'train_dataloader.dataset has other classes (5: sky, building' in text
    assert f'val_dataloader.dataset has ({len(names)}: {names[0]}, ' in text
    assert first in text
    assert '\n' not in text
    tested = faults_of(
        own_config(tmp_path, classes('test', names)), ('test',), weights='w.pth', trained=CLASSES
    )
    assert 'w.pth was trained on other classes (5: sky, building' in tested
    assert first in tested


def test_a_training_only_notes_a_test_set_of_other_classes(tmp_path):
    (note,) = check_agreement(own_config(tmp_path, classes('test', SWAPPED)), ('train', 'val'))
    assert note.startswith('train_dataloader.dataset has other classes')
    assert 'a test of the trained weights will be refused' in note


def joined(cfg, names, wrap=lambda dataset: dataset):
    """The training set joined with itself under other names."""
    part = cfg.train_dataloader.dataset
    other = {**part, 'metainfo': dict(classes=names)}
    cfg.train_dataloader.dataset = wrap(dict(type='ConcatDataset', datasets=[part, other]))
    return cfg


@pytest.mark.parametrize(
    'wrap',
    [
        lambda dataset: dataset,
        lambda dataset: dict(type='RepeatDataset', times=2, dataset=dataset),
        lambda dataset: dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset=dataset),
        lambda dataset: dict(
            type='MultiImageMixDataset',
            pipeline=[],
            dataset=dict(type='RepeatDataset', times=2, dataset=dataset),
        ),
    ],
)
def test_joined_and_wrapped_data_sets(tmp_path, wrap):
    text = faults_of(joined(own_config(tmp_path), SWAPPED, wrap))
    assert '.datasets.0 has other classes (5: sky' in text
    assert '.datasets.1 has (5: building' in text
    assert check_agreement(joined(own_config(tmp_path), CLASSES, wrap), ('train', 'val')) == []


def test_data_sets_with_classes_of_their_own(tmp_path):
    """Cityscapes renumbers its labels after the names of the config: what counts are those names."""
    from mmseg.datasets import CityscapesDataset

    city = CityscapesDataset.METAINFO['classes']

    def config(train, val, count):
        cfg = own_config(tmp_path)
        for split, names in (('train', train), ('val', val), ('test', val)):
            dataset = cfg[f'{split}_dataloader']['dataset']
            dataset.type = 'CityscapesDataset'
            dataset.metainfo = None if names is None else dict(classes=names)
        cfg.model.decode_head.num_classes = count
        return cfg

    assert check_agreement(config(None, None, 19), ('train', 'val')) == []
    assert check_agreement(config(city[::-1], city[::-1], 19), ('train', 'val')) == []
    assert check_agreement(config(city[:8], city[:8], 8), ('train', 'val')) == []
    assert "class 0 is 'bicycle'" in faults_of(config(city[::-1], None, 19))
    assert "class 8 is 'vegetation'" in faults_of(config(None, city[:8], 19))
    assert 'names boat, which CityscapesDataset does not have' in faults_of(config(('boat',), ('boat',), 1))


@pytest.mark.parametrize('splits', [('train', 'val'), ('test',)])
def test_heads_count_the_classes(tmp_path, splits):
    head = 'model = dict(decode_head=dict(num_classes=19))'
    text = faults_of(own_config(tmp_path, head), splits)
    assert 'model.decode_head.num_classes is 19' in text
    assert 'write model.decode_head.num_classes=5' in text
    auxiliary = """model = dict(auxiliary_head=[
        dict(type='FCNHead', in_channels=8, channels=8, num_classes=5, loss_decode=dict(type='CrossEntropyLoss')),
        dict(type='FCNHead', in_channels=8, channels=8, num_classes=150, loss_decode=dict(type='CrossEntropyLoss'))])"""
    assert 'model.auxiliary_head.1.num_classes is 150' in faults_of(own_config(tmp_path, auxiliary), splits)


def test_cascades_and_test_time_augmentation(tmp_path):
    cfg = own_config(tmp_path)
    cfg.model.decode_head = [cfg.model.decode_head, {**cfg.model.decode_head, 'num_classes': 4}]
    assert 'model.decode_head.1.num_classes is 4' in faults_of(cfg)
    cfg.model = dict(type='SegTTAModel', module=cfg.model)
    assert 'model.module.decode_head.1.num_classes is 4' in faults_of(cfg, ('test',))


def test_binary_segmentation_with_one_output_goes_on(tmp_path):
    binary = '\n'.join(
        [classes(split, ('background', 'lane')) for split in ('train', 'val', 'test')]
        + [
            'model = dict(decode_head=dict(num_classes=2, out_channels=1, threshold=0.5, '
            "loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True, class_weight=[2.0])))"
        ]
    )
    cfg = own_config(tmp_path, binary)
    assert check_agreement(cfg, ('train', 'val')) == []
    assert check_agreement(cfg, ('test',), weights='w.pth', trained=('background', 'lane')) == []


def test_weights_without_names_are_counted(tmp_path):
    (note,) = check_agreement(own_config(tmp_path, classes('test', SWAPPED)), ('test',), weights='w.pth')
    assert note == 'w.pth does not tell its classes: only their number is compared'
    assert 'num_classes is 5' in faults_of(
        own_config(tmp_path, classes('test', CLASSES[:3])), ('test',), weights='w.pth'
    )


def test_a_test_set_without_names(tmp_path):
    text = faults_of(
        own_config(tmp_path, 'test_dataloader = dict(dataset=dict(metainfo=None))'),
        ('test',),
        trained=CLASSES,
    )
    assert 'write test_dataloader.dataset.metainfo=dict(classes=(...))' in text


def test_everything_is_told_at_once(tmp_path):
    changes = classes('val', SWAPPED) + (
        '\nmodel = dict(decode_head=dict(num_classes=19, ignore_index=7))'
        '\ntrain_dataloader = dict(dataset=dict(ignore_index=9))'
    )
    lines = faults_of(own_config(tmp_path, changes)).split('\n')
    assert lines[0] == '3 contradictions:'
    assert [
        word in line for word, line in zip(('building', 'num_classes', 'void'), lines[1:], strict=True)
    ] == [
        True,
        True,
        True,
    ]


def test_prediction_holds_names_against_outputs(tmp_path):
    """Names of the file, else those that the config describes; only their number can be held against the model."""
    for trained in (CLASSES, SWAPPED):
        assert check_agreement(own_config(tmp_path), (), weights='w.pth', trained=trained) == []
    text = faults_of(own_config(tmp_path), (), weights='w.pth', trained=CLASSES[:3])
    assert 'model.decode_head.num_classes is 5, but w.pth tells of other classes (3: sky' in text
    text = faults_of(own_config(tmp_path, classes('test', CLASSES[:3])), (), weights='w.pth')
    assert 'but test_dataloader.dataset tells of other classes (3: sky' in text


def test_long_lists_are_shortened():
    from mmseg_tapadl.agreement import check_same_classes

    names = [f'class {number}' for number in range(150)]
    with pytest.raises(ClassesDifferError) as caught:
        check_same_classes([*names[:-1], 'other'], names, where='a', source='b')
    assert '150: class 0, class 1, class 2, class 3, ..., class 149' in str(caught.value)
    assert "class 149 is 'class 149' in the first and 'other' in the second" in str(caught.value)
