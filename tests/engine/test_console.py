"""The screen shows what a person reads; what is hidden there, and what is not."""

import logging
import warnings

from mmseg.registry import MODELS

import mmseg_tapadl.register  # noqa: F401
from mmseg_tapadl.engine.console import ScreenFilter, quiet_warnings
from tests.engine.tiny_run import train_here


def shown(text: str) -> bool:
    return ScreenFilter().filter(logging.LogRecord('x', logging.INFO, 'x', 1, text, None, None))


def test_long_dumps_and_lines_by_the_weight_are_for_the_log_file():
    assert shown('Iter(train) [1/4]') and shown('table\n' * 30) and not shown('dump\n' * 31)
    assert not shown('paramwise_options -- backbone.norm.weight:weight_decay=0.0') and not shown(
        'Exp name: tiny'
    )
    assert not shown('backbone.norm.weight is skipped since its requires_grad=False')


def test_of_warnings_those_of_the_losses_alone_are_silenced():
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.simplefilter('always')
        quiet_warnings()
        MODELS.build(dict(type='CrossEntropyLoss'))
        assert caught == []
        warnings.warn('a default that matters', UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ['a default that matters']


def test_a_run_fits_on_a_screen_and_the_log_file_has_everything(tiny):
    run = train_here(tiny / 'tiny.py', tiny / 'screen', '--cfg-options', 'train_cfg.max_iters=1')
    log = next((tiny / 'screen').glob('*/*.log')).read_text()
    for dumped in ('sys.platform', 'train_dataloader = dict', 'before_train'):
        assert dumped in log and dumped not in run.output
    assert run.output.count('\n') < 70
