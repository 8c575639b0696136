# TAP, ADL and both on the painted demo city, from random weights: how a study works, in minutes; not a result.
base = '../fan_demo.py'
variants = dict(
    tap={'model.backbone.tap': dict(num_branches=4)},
    adl={'model.loss_attention': dict(type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0)},
    tapadl={
        'model.backbone.tap': dict(num_branches=4),
        'model.loss_attention': dict(type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0),
    },
)
seeds = [0, 1, 2]
measure = dict(cells=dict(fog=[3], gaussian_noise=[3]))
primary = dict(variant='tapadl', against='base', measure='mPC')
