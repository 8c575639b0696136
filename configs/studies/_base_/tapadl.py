# TAP alone, ADL alone, both.
_tap = {'model.backbone.tap': dict(num_branches=4)}
_adl = {'model.loss_attention': dict(type='AttentionDiversificationLoss', threshold=2.0, loss_weight=1.0)}
variants = dict(tap=_tap, adl=_adl, tapadl={**_tap, **_adl})
primary = dict(variant='tapadl', against='base', measure='mPC')
