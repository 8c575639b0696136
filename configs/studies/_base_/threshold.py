# tau of ADL: attention above tau / M counts, with M keys.
variants = {
    f'tau_{tau:g}': {
        'model.loss_attention': dict(type='AttentionDiversificationLoss', threshold=tau, loss_weight=1.0)
    }
    for tau in (1.0, 1.5, 2.0, 3.0, 4.0)
}
primary = dict(variant='tau_2', against='base', measure='mPC')
