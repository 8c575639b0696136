"""The errors a person can put right or foresee, and the exit status each has.

====== =======================================================================================
status meaning
====== =======================================================================================
0      done
1      an unexpected error, its traceback is in the log file; or faults that a check was asked to find
2      wrong input: arguments, config, data or checkpoint; nothing was started or changed
3      a loss or weights that are not finite
4      the disk is full
130    stopped by Ctrl-C (SIGINT); saved, unless it was pressed twice
143    stopped by SIGTERM; saved
====== =======================================================================================
"""

import errno

EXIT_ERROR = 1
EXIT_INPUT = 2
EXIT_NOT_FINITE = 3
EXIT_DISK_FULL = 4
EXIT_INTERRUPTED = 130

# The disk, the quota, or the largest file allowed.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What the system says of a path that a person gave: it names the file, and a traceback would not help.
_WRONG_PATH = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG),
    }
)


class InputError(ValueError):
    """Something given (a config, a file, a data set) cannot be used; the message says what, and what to do.

    The tools print it as one line and leave with status 2.
    """


class SampleError(InputError):
    """A picture or its label cannot be used; the message is one line that names both files.

    Where a data loader's worker met it, PyTorch raises it anew with the worker's traceback around the message: the
    message is taken out again, and the whole text becomes the cause.
    """

    def __init__(self, message: str) -> None:
        _, found, own = message.rpartition(f'{type(self).__module__}.{type(self).__qualname__}: ')
        super().__init__(own.strip() if found else message)
        if found:
            self.__cause__ = RuntimeError(message)


class NotFiniteError(RuntimeError):
    """A loss or a weight is NaN or infinite."""


class DiskFullError(OSError):
    """A file does not fit on its disk; what stood there before is untouched."""


class RunStopped(Exception):
    """The run was asked to stop and has saved its state.

    Args:
        signal_number: The signal that asked.
        message: What was done.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


def exit_status_of(error: BaseException) -> int:
    """The documented exit status of an error; see the table above."""
    if isinstance(error, RunStopped):
        return error.exit_status
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, NotFiniteError):
        return EXIT_NOT_FINITE
    if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in NO_ROOM):
        return EXIT_DISK_FULL
    if isinstance(error, InputError) or is_wrong_path(error):
        return EXIT_INPUT
    return EXIT_ERROR


def is_wrong_path(error: BaseException) -> bool:
    """Whether the system refused a path for what it is: missing, not allowed, not a folder, a name too long."""
    return isinstance(error, OSError) and error.filename is not None and error.errno in _WRONG_PATH
