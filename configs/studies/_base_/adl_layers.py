# Which layers ADL watches: all, the first or the last four, every other of the first eight, the last alone.
_layers = dict(
    all=None, first_four=[0, 1, 2, 3], last_four=[-4, -3, -2, -1], every_other=[0, 2, 4, 6], last=[-1]
)
variants = {
    name: {
        'model.loss_attention': dict(
            type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0, layers=layers
        )
    }
    for name, layers in _layers.items()
}
primary = dict(variant='all', against='last', measure='mPC')
