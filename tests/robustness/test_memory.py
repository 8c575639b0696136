"""A sweep's memory depends neither on how many pictures it measures nor on how many cells."""

import json
import subprocess
import sys

# Runs differ by 10 MB. A label map of 64-bit ids is 0.25 MB, logits are 2.5 MB: kept of 180 more pictures they are 45 and 450.
ROOM_MB = 32


def test_peak_memory_is_that_of_few_pictures_and_few_cells(repo_root):
    done = subprocess.run(
        [sys.executable, 'benchmarks/sweep_memory.py'],
        cwd=repo_root, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found['few'] > 100
    assert found['many pictures'] - found['few'] < ROOM_MB, found
    assert found['many cells'] - found['many pictures'] < ROOM_MB, found
