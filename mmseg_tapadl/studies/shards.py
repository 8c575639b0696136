"""Which part of a study's runs a machine makes."""

import os
from collections.abc import Mapping

from mmseg_tapadl.utils import InputError

_TASK, _COUNT, _FIRST = 'SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT', 'SLURM_ARRAY_TASK_MIN'


def shard_of(text: str | None, environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """``(i, n)`` of ``'i/n'``, i from 1 to n, or of ``'slurm'`` by the job array that this process is part of.

    Raises:
        InputError: Not so.
    """
    if text is None:
        return None
    if text == 'slurm':
        missing = [name for name in (_TASK, _COUNT) if name not in environment]
        if missing:
            raise InputError(
                f'--shard slurm: {", ".join(missing)} not set; tools/slurm_study.sh starts a job array'
            )
        part = int(environment[_TASK]) - int(environment.get(_FIRST, '1')) + 1
        parts = int(environment[_COUNT])
    else:
        part, parts = (int(number) for number in text.split('/'))
    if not 1 <= part <= parts:
        raise InputError(f'--shard {text}: the first number is from 1 to the second')
    return part, parts
