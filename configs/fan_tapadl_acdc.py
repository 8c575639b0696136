# Trained on Cityscapes, tested on ACDC val: fog, night, rain and snow apart, pooled, and their mean.
_base_ = './fan_tapadl_cityscapes.py'
acdc_root = 'data/acdc'

# Tested at their own size, 1080x1920.
acdc_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(
    dataset=dict(
        _delete_=True, type='ACDCDataset', data_root=acdc_root, split='val', pipeline=acdc_test_pipeline
    )
)
test_evaluator = dict(_delete_=True, type='ConditionIoUMetric')
