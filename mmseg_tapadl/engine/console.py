"""Keeping the screen to what a person reads; the log file has everything."""

import logging
import warnings

_MAX_LINES = 30
_DETAILS = (
    'Hooks will be executed',
    'paramwise_options',
    'Exp name:',
    'Distributed training is not used',
    'Loads checkpoint by',
    'Advance dataloader',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'The prefix is not set in metric class',
)


class ScreenFilter(logging.Filter):
    """Lets through what fits on a screen; dumps of the environment, the config and the hooks do not."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True for records to show."""
        text = record.getMessage()
        return text.count('\n') <= _MAX_LINES and not text.strip().startswith(_DETAILS)


def quiet_screen(logger: logging.Logger) -> None:
    """Puts :class:`ScreenFilter` on a logger's screen handlers, not on its files."""
    for handler in logger.handlers:
        on_screen = isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        )
        if on_screen and not any(isinstance(item, ScreenFilter) for item in handler.filters):
            handler.addFilter(ScreenFilter())


def quiet_warnings() -> None:
    """Silences warnings of the libraries that no user of this toolkit can act on."""
    for text in (
        'The draw is False, it means that the hook',
        'Could not import OneDL',
        'Default ``avg_non_ignore`` is False',
        '`build_loss` would be deprecated',
        'builtin type Swig',
        '.*pin_memory.*',
        'Fail to import ``MultiScaleDeformableAttention``',
    ):
        warnings.filterwarnings('ignore', message=text)
