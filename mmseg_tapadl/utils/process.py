"""What a tool sets for its own process before torch is loaded; what the user has set stays.

**Threads.** OpenMP's threads spin while they wait for one another. Where a processor's cores have anything else to do,
a spinning thread takes the core that the one it waits for needs: with one busy process beside it on two cores, TAP
took 200 ms in place of 40, 89 with waiting threads asleep. So threads sleep, unless there is a GPU, beside which the
processor computes little.

**Memory.** glibc hands large freed blocks back to the system, but raises the size that counts as large with every one
that is freed, up to 32 MB, and then keeps what lies below something still in use: a training step grows by a quarter,
a long test picture by picture. A fixed size switches the first off; for the second ``ReturnMemoryHook`` is there. See
docs/performance.md for what it costs.
"""

import ctypes
import os
import sys
from collections.abc import MutableMapping

_MB = 1 << 20
# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
TRIM_THRESHOLD_BYTES = 256 * _MB
MMAP_THRESHOLD_BYTES = 4 * _MB
_THREAD_SETTINGS = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')


def settle_process(environment: MutableMapping[str, str] = os.environ) -> None:
    """Chooses how threads wait and what malloc keeps; call it before torch is imported.

    Args:
        environment: The process's environment, changed in place for it and for its children.
    """
    has_gpu = os.path.exists('/dev/nvidiactl')
    if not has_gpu and not any(name in environment for name in _THREAD_SETTINGS):
        environment['OMP_WAIT_POLICY'] = 'PASSIVE'
    if not any(name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES' for name in environment):
        fix_malloc_thresholds(TRIM_THRESHOLD_BYTES, MMAP_THRESHOLD_BYTES)


def fix_malloc_thresholds(trim_bytes: int, mmap_bytes: int) -> bool:
    """Fixes from which size glibc maps a block by itself, and how much free memory at the end it keeps.

    Returns:
        Whether there was a glibc to tell; other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None) if sys.platform == 'linux' else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, mmap_bytes)) and bool(mallopt(_M_TRIM_THRESHOLD, trim_bytes))
