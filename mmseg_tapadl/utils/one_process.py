"""Work that one process does while the others wait for it, however long it takes."""

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from mmseg_tapadl.utils.errors import InputError

# A collective call has a time-out of minutes, a check of all pictures or a download may take hours.
_PATIENCE = timedelta(days=30)


class OtherProcessError(RuntimeError):
    """Another process failed at what this one waited for; that one says why."""


def on_main_process(work: Callable[[], None]) -> None:
    """Runs ``work`` in the process of rank 0; all leave together, or raise together.

    Raises:
        InputError: In every process, when ``work`` raised one.
        OtherProcessError: In the waiting processes, when ``work`` raised something else.
    """
    _one_works(work, lambda rank: rank == 0)


def on_each_machine(work: Callable[[], None]) -> None:
    """Runs ``work`` in the first process of every machine (local rank 0); otherwise as :func:`on_main_process`."""
    _one_works(work, lambda rank: _local_rank(rank) == 0)


def _one_works(work: Callable[[], None], chosen: Callable[[int], bool]) -> None:
    # A program that never loaded torch has no other processes.
    torch = sys.modules.get('torch')
    dist: Any = getattr(torch, 'distributed', None)
    if dist is None or not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        work()
        return
    # A group of its own over gloo: its patience is ours, whatever the backend and time-out of the others.
    group = dist.new_group(backend='gloo', timeout=_PATIENCE)
    raised: Exception | None = None
    if chosen(dist.get_rank()):
        try:
            work()
        except Exception as error:
            raised = error
    told = (isinstance(raised, InputError), f'{type(raised).__name__}: {raised}') if raised else None
    faults: list[tuple[bool, str] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(faults, told, group=group)
    dist.destroy_process_group(group)
    if raised is not None:
        raise raised
    for rank, fault in enumerate(faults):
        if fault is not None:
            kind = InputError if fault[0] else OtherProcessError
            raise kind(
                f'stopped, because another process ({rank}) stopped: {" ".join(fault[1].split())[:200]}'
            )


def _local_rank(rank: int) -> int:
    """The number of this process on its machine, as torchrun or Slurm tells it."""
    for name in ('LOCAL_RANK', 'SLURM_LOCALID'):
        if name in os.environ:
            return int(os.environ[name])
    return rank
