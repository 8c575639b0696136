# Does TAP + ADL make DINOv2-S on CamVid more robust? The recipe was chosen by dinov2_camvid_search.py, on other pictures and
# by the other corruptions; this file, its primary difference and the expectation stand before the first run.
#   python tools/study.py configs/studies/dinov2_camvid_confirm.py --pretrained work_dirs/dinov2_small.safetensors
base = '../dinov2_camvid.py'
# The last checkpoint is measured by the study itself.
changes = {'val_dataloader': None, 'val_evaluator': None, 'val_cfg': None}
_tap = {'model.backbone.tap': dict(num_branches=4)}
_adl = {'model.loss_attention': dict(type='AttentionDiversificationLoss', threshold=2.0, loss_weight=0.1)}
variants = dict(tap=_tap, adl=_adl, tapadl={**_tap, **_adl})
seeds = [0, 1, 2, 3, 4]
# The 8 corruptions of Cityscapes-C that the search did not see.
measure = dict(
    sweep=dict(
        corruptions=[
            *('defocus_blur', 'gaussian_blur', 'impulse_noise', 'shot_noise'),
            *('brightness', 'saturate', 'snow', 'spatter'),
        ],
        severities=[3, 5],
    )
)
primary = dict(variant='tapadl', against='base', measure='mPC')
expectation = ''
data = 'data/camvid'
