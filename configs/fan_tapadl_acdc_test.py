# ACDC test, whose labels are withheld: writes the server's submission, folder and zip, and measures nothing.
_base_ = './fan_tapadl_acdc.py'
acdc_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackSegInputs'),
]
# For tools/test.py --tta: the base's scales and flips, without labels.
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)],
            [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
            [dict(type='PackSegInputs')],
        ],
    ),
]
test_dataloader = dict(dataset=dict(split='test', pipeline=acdc_test_pipeline))
test_evaluator = dict(_delete_=True, type='ACDCSubmission', output_dir='work_dirs/fan_tapadl_acdc_test')
