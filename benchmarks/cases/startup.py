"""Start-up: what importing the package adds to its libraries, and how soon each tool answers ``--help``."""

import subprocess
import sys
import time

from benchmarks.harness import ROOT, Bench, Timing, Workload

WORKLOADS: dict[str, Workload] = {}

IMPORT = """
import time
import mmseg.models, mmseg.datasets, timm
start = time.perf_counter()
import mmseg_tapadl.register
print(time.perf_counter() - start)
"""
ROUNDS = 3


def run(bench: Bench) -> None:
    """Records both."""
    added = Timing(tuple(float(python('-c', IMPORT).splitlines()[-1]) for _ in range(ROUNDS)))
    bench.note('import mmseg_tapadl.register, after its libraries', str(added))
    bench.at_most('seconds that the import adds', added.median, 0.2)
    slowest = 0.0
    for tool in sorted((ROOT / 'tools').rglob('*.py')):
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            python(str(tool), '--help')
            seconds.append(time.perf_counter() - start)
        timing = Timing(tuple(seconds))
        slowest = max(slowest, timing.median)
        bench.note(f'{tool.relative_to(ROOT)} --help', str(timing))
    bench.at_most('seconds of the slowest --help', slowest, 1.0)


def python(*arguments: str) -> str:
    """Output of a Python process in the checkout."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout
