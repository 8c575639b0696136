"""Running something harmful in a child process that may hang, die, or be killed."""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable

DONE, REFUSED = 0, 10
_MEMORY = 6 << 30


def in_child(body: Callable[[], object], seconds: float = 30) -> str:
    """Forks, runs ``body`` under limits of time and memory, and says what became of it.

    Returns:
        ``'done'``, ``'refused'`` (an exception), ``'hung'`` or ``'died'``.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        silence()
        try:
            body()
        except BaseException:
            os._exit(REFUSED)
        os._exit(DONE)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return {DONE: 'done', REFUSED: 'refused'}.get(os.waitstatus_to_exitcode(status), 'died')
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 'hung'


def silence() -> None:
    """Sends both output streams of this process nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
