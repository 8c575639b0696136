# What gathers the neighbours before attention: a plain mean, convolutions, or each token's own mixture (TAP).
variants = {
    **{
        f'{kind}_{size}': {'model.backbone.tap': dict(type=kind, kernel_size=size)}
        for kind in ('avg_pool', 'conv', 'depthwise_conv')
        for size in (3, 5)
    },
    'tap': {'model.backbone.tap': dict(type='tap', num_branches=4)},
}
primary = dict(variant='tap', against='avg_pool_3', measure='mPC')
