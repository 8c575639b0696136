"""Keeping the screen to what a person reads; the log file has everything.

What the libraries say is hidden by its length and by its place; by its wording only where that is worth it. Measured as
lines on the screen of ``tools/train.py`` (mmengine 0.10.12): a tiny run of four iterations shows 52, and 469 with nothing
hidden, nearly all of it three long dumps. Each weight that ``paramwise_cfg`` treats has a line or two that begin with
``paramwise_options``, 226 with the demo's model, and each frozen one a line that says so; each pass over the data has one that begins with ``Exp name:``. Texts
that add one line to a run, together four here, are not worth a dependence on their wording.
"""

import logging
import warnings

_MAX_LINES = 30
_DETAILS = ('paramwise_options', 'Exp name:')
_FROZEN = 'is skipped since its requires_grad=False'


class ScreenFilter(logging.Filter):
    """Lets through what fits on a screen; dumps of the environment, the config and the hooks do not."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True for records to show."""
        text = record.getMessage()
        details = text.strip().startswith(_DETAILS) or text.rstrip().endswith(_FROZEN)
        return text.count('\n') <= _MAX_LINES and not details


def quiet_screen(logger: logging.Logger) -> None:
    """Puts :class:`ScreenFilter` on a logger's screen handlers, not on its files."""
    for handler in logger.handlers:
        on_screen = isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        )
        if on_screen and not any(isinstance(item, ScreenFilter) for item in handler.filters):
            handler.addFilter(ScreenFilter())


def quiet_warnings() -> None:
    """Silences what mmseg's losses warn of in every tool: that a default is as it is."""
    warnings.filterwarnings('ignore', category=UserWarning, module=r'mmseg\.models\.losses\.')
