"""Randomness that depends on where in the run it is drawn, not on what was drawn before.

A run that is killed and goes on, has another number of workers, or validates in between must draw the
same numbers at the same place. So the generators are not carried along: they are seeded anew for every
iteration and for every sample, from (seed, kind, place), mixed well enough that neighbours share nothing.
"""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def stream_seed(seed: int, kind: str, *place: int) -> int:
    """A 63-bit seed for one place of a run.

    Args:
        seed: The run's seed.
        kind: What is drawn, e.g. ``'sample'``; kinds do not share numbers.
        *place: Counters, e.g. the iteration and the process's rank.
    """
    words = np.random.SeedSequence([abs(seed), zlib.crc32(kind.encode()), *place]).generate_state(
        2, np.uint32
    )
    return int(words[0]) << 31 ^ int(words[1])


def seed_everything(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's generators (the GPUs' too) with a 63-bit number."""
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Runs a block under its own randomness on the CPU; the generators then go on as if it had not been."""
    python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_state)
