"""A sweep's memory depends neither on how many pictures it measures nor on how many cells."""

import json
import subprocess
import sys

# A label map of 64-bit ids is 0.25 MB, logits are 2.5 MB: kept for 180 more pictures, either would be seen.
ROOM_MB = 16


def test_peak_memory_is_that_of_few_pictures_and_few_cells(repo_root):
    done = subprocess.run(
        [sys.executable, '-m', 'tests.robustness.sweep_memory'],
        cwd=repo_root, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found['few'] > 100
    assert found['many pictures'] - found['few'] < ROOM_MB, found
    assert found['many cells'] - found['many pictures'] < ROOM_MB, found
