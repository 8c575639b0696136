# The paper's recipe on ACDC's own training pictures; validated and tested by condition.
_base_ = './fan_tapadl_acdc.py'

acdc_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(1920, 1080), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ACDCDataset',
        data_root={{_base_.acdc_root}},
        split='train',
        pipeline=acdc_train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ACDCDataset',
        data_root={{_base_.acdc_root}},
        split='val',
        pipeline={{_base_.acdc_test_pipeline}},
    )
)
val_evaluator = dict(_delete_=True, type='ConditionIoUMetric')
