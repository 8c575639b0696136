"""What a user pays: ``tools/train.py`` on the paper's config, in a process of its own, as it is started by hand."""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import ROOT, Bench

CONFIG = 'configs/fan_tapadl_cityscapes.py'
ITERATIONS = 6
WORKLOADS: dict = {}


def run(bench: Bench) -> None:
    """Records the process's peak memory and the time of an iteration at crops of 1024, batch 1."""
    if bench.device.type == 'cuda':
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paint = [sys.executable, str(ROOT / 'tools/dataset_converters/demo_city.py'), str(folder / 'city')]
        paint += ['--train', '2', '--val', '1', '--size', '2048x1024']
        subprocess.run(paint, check=True, capture_output=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        train = [
            sys.executable,
            str(ROOT / 'tools/train.py'),
            str(ROOT / CONFIG),
            '--work-dir',
            str(folder / 'run'),
        ]
        options = [
            f'{part}_dataloader.dataset.data_root={folder / "city"}' for part in ('train', 'val', 'test')
        ]
        options += [
            f'train_cfg.max_iters={ITERATIONS}',
            'train_cfg.val_interval=1000',
            'default_hooks.logger.interval=1',
        ]
        subprocess.run([*train, '--cfg-options', *options], check=True, capture_output=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        assert peak > before * 1024, 'the painter took more memory than the training'
        log = next((folder / 'run').rglob('scalars.json')).read_text(encoding='utf-8')
    times = [entry['time'] for entry in map(json.loads, log.splitlines()) if 'time' in entry]
    bench.note('tools/train.py, an iteration at 1024', f'{statistics.median(times[1:]):.1f} s', seconds=times)
    bench.at_most('GB of tools/train.py at 1024, the whole process', peak / 1e9, 6)
