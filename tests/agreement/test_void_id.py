"""The id of void pixels: the data set says it, the others follow, and who contradicts is named."""

import pytest

from mmseg_tapadl.agreement import DisagreementError, check_agreement, scored_void, void_source
from tests.agreement.own_set import own_config

TRAIN, VAL, TEST, HEAD, METRIC = (
    'train_dataloader = dict(dataset=dict(ignore_index={}))',
    'val_dataloader = dict(dataset=dict(ignore_index={}))',
    'test_dataloader = dict(dataset=dict(ignore_index={}))',
    'model = dict(decode_head=dict(ignore_index={}))',
    'val_evaluator = dict(ignore_index={})',
)


def changed(tmp_path, *lines: str, void: int = 5):
    return own_config(tmp_path, '\n'.join(line.format(void) for line in lines))


def fault_of(cfg, splits=('train', 'val')) -> str:
    with pytest.raises(DisagreementError) as caught:
        check_agreement(cfg, splits)
    return str(caught.value)


@pytest.mark.parametrize(
    'lines',
    [(TRAIN, VAL, TEST), (TRAIN,), (TRAIN, VAL, HEAD), (HEAD,), (METRIC,), (TRAIN, VAL, HEAD, METRIC)],
)
def test_the_others_follow(tmp_path, lines):
    cfg = changed(tmp_path, *lines)
    cfg.train_dataloader.dataset.pipeline.insert(1, dict(type='RandomRotate', prob=0.5, degree=10))
    cfg.train_dataloader.dataset.pipeline.insert(1, dict(type='Pad', size=(64, 64)))
    cfg.train_dataloader.dataset.pipeline[2] = dict(type='RandomRotate', prob=0.5, degree=10)
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='ConditionIoUMetric')]
    (note,) = check_agreement(cfg, ('train', 'val'))
    assert note.startswith('void is 5')
    pipeline = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    assert pipeline['RandomCrop']['ignore_index'] == 5
    assert pipeline['RandomRotate']['seg_pad_val'] == 5
    assert pipeline['Pad']['pad_val'] == {'img': 0, 'seg': 5}
    assert cfg.model.data_preprocessor.seg_pad_val == 5
    assert cfg.model.decode_head.ignore_index == 5
    assert [metric['ignore_index'] for metric in cfg.val_evaluator] == [5, 5]
    assert cfg.train_dataloader.dataset.ignore_index == cfg.val_dataloader.dataset.ignore_index == 5
    assert scored_void(cfg, 'val') == 5
    # Once is enough: what was settled stays.
    assert check_agreement(cfg, ('train', 'val')) == []


def test_usual_void_changes_nothing(tmp_path):
    cfg = own_config(tmp_path)
    before = cfg.to_dict()
    assert check_agreement(cfg, ('train', 'val')) == []
    assert cfg.to_dict() == before
    assert scored_void(cfg) == 255


@pytest.mark.parametrize(
    'changes, named',
    [
        ('model = dict(decode_head=dict(ignore_index=9))', 'model.decode_head.ignore_index=9'),
        ('model = dict(decode_head=dict(ignore_index=255))', 'model.decode_head.ignore_index=255'),
        ('model = dict(data_preprocessor=dict(seg_pad_val=0))', 'model.data_preprocessor.seg_pad_val=0'),
        ('val_evaluator = dict(ignore_index=255)', 'val_evaluator.ignore_index=255'),
        ('val_dataloader = dict(dataset=dict(ignore_index=6))', 'val_dataloader.dataset.ignore_index=6'),
        (
            "val_evaluator = dict(_delete_=True, type='Evaluator', metrics=[dict(type='IoUMetric', ignore_index=8)])",
            'val_evaluator.metrics.0.ignore_index=8',
        ),
        (
            "model = dict(auxiliary_head=dict(type='FCNHead', in_channels=8, channels=8, num_classes=5, ignore_index=7, "
            "loss_decode=[dict(type='CrossEntropyLoss')]))",
            'model.auxiliary_head.ignore_index=7',
        ),
    ],
)
def test_who_contradicts_is_named(tmp_path, changes, named):
    text = fault_of(own_config(tmp_path, TRAIN.format(5) + '\n' + changes))
    assert 'train_dataloader.dataset.ignore_index=5' in text
    assert named in text
    assert '\n' not in text


def test_padding_with_a_class(tmp_path):
    changes = 'model = dict(data_preprocessor=dict(seg_pad_val=0))'
    assert 'model.data_preprocessor.seg_pad_val=0' in fault_of(own_config(tmp_path, changes))


def test_void_that_is_a_class(tmp_path):
    assert 'train_dataloader.dataset.ignore_index=3 is a class' in fault_of(changed(tmp_path, TRAIN, void=3))


def test_a_class_left_out_on_purpose(tmp_path):
    """mmseg's own HSI-Drive configs leave class 0 out of loss and score; then of both."""
    both = changed(tmp_path, HEAD, METRIC, void=0)
    both.model.data_preprocessor.seg_pad_val = 0
    assert check_agreement(both, ('train', 'val')) == []
    text = fault_of(changed(tmp_path, HEAD, void=0))
    assert 'model.decode_head.ignore_index=0' in text
    assert 'val_evaluator.ignore_index=255' in text


def test_loading_that_writes_255(tmp_path):
    zero = 'train_dataloader = dict(dataset=dict(ignore_index=9, reduce_zero_label=True))'
    assert 'reduce_zero_label=True turns id 0 into 255' in fault_of(own_config(tmp_path, zero))
    cut = (
        '\n'.join(
            f"{split}_dataloader = dict(dataset=dict(type='CityscapesDataset', metainfo=dict(_delete_=True, "
            "classes=('road', 'sky')), ignore_index=9))"
            for split in ('train', 'val', 'test')
        )
        + '\nmodel = dict(decode_head=dict(num_classes=2))'
    )
    assert 'leaves out classes of CityscapesDataset' in fault_of(own_config(tmp_path, cut))


def test_who_counts_label_0_as_void(tmp_path):
    one = own_config(tmp_path, 'val_dataloader = dict(dataset=dict(reduce_zero_label=True))')
    assert 'but val_dataloader.dataset.reduce_zero_label is True' in fault_of(one)
    loading = own_config(tmp_path)
    loading.train_dataloader.dataset.pipeline[1].reduce_zero_label = True
    text = fault_of(loading)
    assert 'train_dataloader.dataset.pipeline.1.reduce_zero_label is True, but its data set has False' in text
    for split in ('train', 'val'):
        loading[f'{split}_dataloader'].dataset.reduce_zero_label = True
    assert check_agreement(loading, ('train', 'val')) == []


def test_losses_may_leave_a_class_out(tmp_path):
    dice = (
        "model = dict(decode_head=dict(loss_decode=[dict(type='CrossEntropyLoss'), "
        "dict(type='TverskyLoss', ignore_index={}, loss_name='loss_tversky')]))"
    )
    assert check_agreement(own_config(tmp_path, dice.format(0)), ('train', 'val')) == []
    assert 'loss_decode.1.ignore_index=9' in fault_of(own_config(tmp_path, dice.format(9)))


def test_a_test_follows_the_training_set(tmp_path):
    cfg = changed(tmp_path, TRAIN)
    assert len(check_agreement(cfg, ('test',))) == 1
    assert scored_void(cfg) == 5
    assert cfg.test_dataloader.dataset.ignore_index == 5


def test_an_endless_validation(tmp_path):
    changes = "val_dataloader = dict(sampler=dict(type='{}', shuffle=False))"
    for sampler in ('InfiniteSampler', 'PositionedSampler'):
        text = fault_of(own_config(tmp_path, changes.format(sampler)))
        assert f'val_dataloader.sampler ({sampler}) never ends' in text


@pytest.mark.parametrize('number', [0, 1])
def test_a_silent_part_of_joined_data_follows(tmp_path, number):
    cfg = own_config(tmp_path)
    parts = [cfg.test_dataloader.dataset.to_dict(), cfg.test_dataloader.dataset.to_dict()]
    parts[number]['ignore_index'] = 11
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    said = f'test_dataloader.dataset.datasets.{number}.ignore_index'
    assert void_source(cfg, ('test',)) == said
    (note,) = check_agreement(cfg, ('test',))
    assert note.startswith(f'void is 11 ({said}); these follow: ')
    assert [part.ignore_index for part in cfg.test_dataloader.dataset.datasets] == [11, 11]
    assert scored_void(cfg) == 11


def test_who_says_what_void_is(tmp_path):
    cfg = own_config(tmp_path)
    assert void_source(cfg, ('test',)) == 'default'
    cfg.test_evaluator = dict(cfg.test_evaluator, ignore_index=11)
    assert void_source(cfg, ('test',)) == 'test_evaluator.ignore_index'
