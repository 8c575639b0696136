"""Reasons to end a run, and the exit status each has.

====== =======================================================================================
status meaning
====== =======================================================================================
0      done
1      an unexpected error; its traceback is in the log file
2      wrong input: arguments, config, data or checkpoint; nothing was started or changed
3      a loss or weights that are not finite
4      the disk is full
130    stopped by Ctrl-C (SIGINT); saved, unless it was pressed twice
143    stopped by SIGTERM; saved
====== =======================================================================================
"""

from mmseg_tapadl.utils import InputError

EXIT_ERROR = 1
EXIT_INPUT = 2
EXIT_NOT_FINITE = 3
EXIT_DISK_FULL = 4


class NotFiniteError(RuntimeError):
    """A loss or a weight is NaN or infinite."""


class RunMismatchError(InputError):
    """A checkpoint and today's config or data do not belong together."""


class SampleError(InputError):
    """A picture or its label cannot be used; the message names both files."""


class RunStopped(Exception):
    """The run was asked to stop and has saved its state.

    Args:
        signal_number: The signal that asked.
        message: What was done.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number
