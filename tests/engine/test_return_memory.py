"""Freed memory goes back to the system while pictures are tested."""

import sys
from types import SimpleNamespace

import pytest

from benchmarks.abuse_cases.memory import resident_bytes
from mmseg_tapadl.engine.hooks import ReturnMemoryHook


@pytest.mark.skipif(sys.platform != 'linux', reason='other C libraries have no malloc_trim')
def test_freed_memory_below_kept_memory_is_given_back():
    hook = ReturnMemoryHook(interval=5)
    # One block in ten is kept, so glibc keeps the other nine too.
    blocks = [bytearray(b'x') * 8000 for _ in range(20_000)]
    kept = blocks[::10]
    del blocks
    full = resident_bytes()
    for batch_idx in range(4):
        hook.after_test_iter(SimpleNamespace(), batch_idx)
    assert full - resident_bytes() < 20e6
    hook.after_test_iter(SimpleNamespace(), 4)
    assert full - resident_bytes() > 100e6
    assert len(kept) == 2000
