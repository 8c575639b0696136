# The demo model, tested on the demo city's fog, night, rain and snow (ACDC layout).
_base_ = './fan_tapadl_demo.py'
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ACDCDataset',
        data_root={{_base_.data_root}},
        split='val',
        pipeline={{_base_.test_pipeline}},
    )
)
test_evaluator = dict(_delete_=True, type='ConditionIoUMetric')
