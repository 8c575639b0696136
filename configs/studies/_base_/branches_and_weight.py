# K of TAP from 1 to 5 (1 is the token itself: no pooling), and lambda of ADL beside TAP with K = 4.
variants = {
    **{f'k_{branches}': {'model.backbone.tap': dict(num_branches=branches)} for branches in (1, 2, 3, 4, 5)},
    **{
        f'lambda_{weight:g}': {
            'model.backbone.tap': dict(num_branches=4),
            'model.loss_attention': dict(
                type='AttentionDiversificationLoss', threshold=2.0, loss_weight=weight
            ),
        }
        for weight in (0.01, 0.1, 1.0, 10.0)
    },
}
primary = dict(variant='lambda_1', against='base', measure='mPC')
