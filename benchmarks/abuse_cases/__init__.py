"""Load and abuse: each case is run once with this toolkit and once with plain mmengine and mmseg."""

CASES = ('kills', 'hostile', 'bits', 'data', 'memory')
