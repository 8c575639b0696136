"""What a sweep costs beside plain tools/test.py run for each cell by hand, and whether memory stays flat.

    python benchmarks/sweep_cost.py --data-root data/camvid
    python benchmarks/sweep_cost.py --data-root data/camvid --corruptions fog snow --severities 1 3 5 --pictures 20

FAN-T with random weights. By hand, every cell pays for start-up, imports and the model; the sweep pays once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# works from a checkout without installing
sys.path.insert(0, str(ROOT))

_BY_HAND = """
_base_ = {base!r}
by_hand_test_pipeline = [
    dict(type='LoadImageFromFile'),
    {corrupt}
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(num_workers=1, persistent_workers=False,
                       dataset=dict(data_root={root!r}, indices={pictures}, pipeline=by_hand_test_pipeline))
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', default=str(ROOT / 'configs/fan_tapadl_camvid.py'))
    parser.add_argument('--data-root', default=str(ROOT / 'data/camvid'), help='Cityscapes layout')
    parser.add_argument('--pictures', type=int, default=20)
    parser.add_argument('--corruptions', nargs='+', default=['fog', 'snow', 'gaussian_noise'])
    parser.add_argument('--severities', nargs='+', default=['1', '3'])
    parser.add_argument('--out', help='also write the figures here, as JSON')
    return parser.parse_args()


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MB of a program (its largest process)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f'{" ".join(command)}\n{output[-3000:]}')
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def make_checkpoint(config: str, path: Path) -> None:
    """Random weights, written in a process of its own."""
    code = (
        'import sys, torch\n'
        'from mmengine.registry import init_default_scope\n'
        'from mmseg.registry import MODELS\n'
        'from mmseg_tapadl.engine.config import load_config\n'
        'from mmseg.utils import register_all_modules\n'
        'register_all_modules()\n'
        'config = load_config(sys.argv[1])\n'
        'from mmengine.model import revert_sync_batchnorm\n'
        'model = revert_sync_batchnorm(MODELS.build(config.model))\n'
        "torch.save({'state_dict': model.state_dict()}, sys.argv[2])\n"
    )
    run([sys.executable, '-c', code, config, str(path)])


def main() -> None:
    args = parse_args()
    cells = [(name, severity) for name in args.corruptions for severity in args.severities]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        weights = work / 'weights.pth'
        make_checkpoint(args.config, weights)

        def config_of(name: str, corrupt: str, pictures: int) -> str:
            path = work / f'{name}.py'
            text = _BY_HAND.format(
                base=str(Path(args.config).resolve()), corrupt=corrupt, root=args.data_root, pictures=pictures
            )
            path.write_text(text, encoding='utf-8')
            return str(path)

        def sweep(name: str, pictures: int) -> tuple[float, float]:
            choice = ['--corruptions', *args.corruptions, '--severities', *args.severities]
            config = config_of(name, '', pictures)
            tool = [sys.executable, 'tools/test_robustness.py', config, str(weights), *choice]
            return run([*tool, '--work-dir', str(work / name)])

        swept, _ = sweep('sweep', args.pictures)
        by_hand = 0.0
        for number, cell in enumerate([None, *cells]):
            corrupt = (
                f"dict(type='CorruptImage', corruption='{cell[0]}', severity={cell[1]})," if cell else ''
            )
            config = config_of(f'hand{number}', corrupt, args.pictures)
            tool = [
                sys.executable,
                'tools/test.py',
                config,
                str(weights),
                '--work-dir',
                str(work / f'hand{number}'),
            ]
            by_hand += run([*tool, '--skip-check'])[0]
        _, few = sweep('few', max(1, args.pictures // 4))
        _, many = sweep('many', args.pictures * 2)
    figures = {
        'machine': f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores',
        'cells': 1 + len(cells),
        'pictures': args.pictures,
        'sweep_s': swept,
        'by_hand_s': by_hand,
        'ratio': swept / by_hand,
        'peak_mb': {str(max(1, args.pictures // 4)): few, str(args.pictures * 2): many},
    }
    print(json.dumps(figures, indent=2))
    if args.out:
        Path(args.out).write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
