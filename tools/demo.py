"""The whole toolkit in a few minutes on a CPU: paint a city, train, test in all weathers, look at the results.

Examples:
  make demo
  python tools/demo.py --data data/demo_city --work-dir work_dirs/demo

What is already there is reused: a second run trains and tests nothing again. Every step is one of the tools, and
its command is shown, so that it can be repeated by hand.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/fan_tapadl_demo.py'
WEATHER_CONFIG = 'configs/fan_tapadl_demo_acdc.py'
CONDITIONS = ('fog', 'night', 'rain', 'snow')
# A short preset: one corruption of each of the four groups at a mild and a strong severity.
CORRUPTIONS = ('motion_blur', 'gaussian_noise', 'brightness', 'fog')
SEVERITIES = (1, 3)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--data', default='data/demo_city', metavar='DIR', help='where the demo city is painted'
    )
    parser.add_argument('--work-dir', default='work_dirs/demo', metavar='DIR', help='where all results go')
    parser.add_argument(
        '--iterations', type=int, default=300, metavar='N', help='training iterations (default: 300)'
    )
    return parser.parse_args()


def run(title: str, tool: str, *args: object) -> None:
    """Runs one of the tools in a process of its own, after showing its command; a failure ends the demo."""
    command = ['python', f'tools/{tool}', *map(str, args)]
    print(f'\n== {title}\n$ {shlex.join(command)}', flush=True)
    # Where the person is: the configs are found from anywhere.
    status = subprocess.run([sys.executable, str(ROOT / command[1]), *command[2:]]).returncode
    if status:
        print(
            f'demo.py: error: tools/{tool} ended with status {status}; its message is above', file=sys.stderr
        )
        sys.exit(status)


def newer(result: Path, *sources: Path) -> bool:
    """Whether a result exists and is newer than what it was made from."""
    return result.is_file() and all(result.stat().st_mtime >= source.stat().st_mtime for source in sources)


def read_metrics(folder: Path) -> dict:
    return json.loads((folder / 'metrics.json').read_text(encoding='utf-8'))['metrics']


def main() -> int:
    args = parse_args()
    started = time.monotonic()
    data, work = Path(args.data).resolve(), Path(args.work_dir).resolve()
    data_options = [
        f'{loader}.dataset.data_root={data}'
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
    ]

    run('Paint the demo city', 'dataset_converters/demo_city.py', data)

    checkpoint = work / 'train' / f'iter_{args.iterations}.pth'
    if checkpoint.is_file():
        print(f'\n== Train: {checkpoint} is there and is used again')
    else:
        schedule = [
            f'train_cfg.max_iters={args.iterations}',
            f'train_cfg.val_interval={args.iterations}',
            f'param_scheduler.1.end={args.iterations}',
        ]
        options = ['--work-dir', work / 'train', '--resume', '--cfg-options', *data_options, *schedule]
        run(
            f'Train FAN-T-Hybrid with TAP and ADL, {args.iterations} iterations', 'train.py', CONFIG, *options
        )

    for title, config, name in (
        ('Test in clear weather', CONFIG, 'clear'),
        ('Test in fog, at night, in rain and in snow', WEATHER_CONFIG, 'weather'),
    ):
        folder = work / name
        if newer(folder / 'metrics.json', checkpoint):
            print(f'\n== {title}: {folder} is there and is used again')
            continue
        run(
            title, 'test.py', config, checkpoint, '--work-dir', folder, '--show-dir', folder / 'overlays',
            '--cfg-options', *data_options,
        )  # fmt: skip

    robustness = work / 'robustness'
    run(
        'The robustness benchmark, a short preset', 'test_robustness.py', CONFIG, checkpoint, '--work-dir', robustness,
        '--corruptions', *CORRUPTIONS, '--severities', *SEVERITIES, '--cfg-options', *data_options,
    )  # fmt: skip

    clear, weather = read_metrics(work / 'clear'), read_metrics(work / 'weather')
    scores = json.loads((robustness / 'robustness.json').read_text(encoding='utf-8'))
    rows = [
        ('clear', clear['mIoU']),
        *((name, weather[f'mIoU_{name}']) for name in CONDITIONS),
        *((f'{name} (corrupted)', scores['corruptions'][name]) for name in CORRUPTIONS),
    ]
    width = max(len(name) for name, _ in rows)
    print(f'\n{"demo city":{width}}   mIoU')
    for name, value in rows:
        print(f'{name:{width}}  {value:5.1f} %')
    print(f'\noverlays  {work / "clear" / "overlays"}\n          {work / "weather" / "overlays"}')
    print(f'report    {robustness / "report.html"}')
    print(f'done in {(time.monotonic() - started) / 60:.1f} minutes')
    return 0


if __name__ == '__main__':
    sys.exit(main())
