"""Check data: every file is decoded, all faults are shown at once, with paths.

Examples:
    python tools/check_dataset.py configs/fan_tapadl_cityscapes.py
    python tools/check_dataset.py configs/fan_tapadl_demo.py --split val --json faults.json
    python tools/check_dataset.py --data my.yaml
    python tools/check_dataset.py configs/fan_tapadl_cityscapes.py --cfg-options \\
        train_dataloader.dataset.data_root=/data/cityscapes val_dataloader.dataset.data_root=/data/cityscapes

Files that have not changed since the last check are not read again. Exit status: 0 no faults, 1 faults,
2 wrong input.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from mmseg_tapadl.utils.command_line import add_cfg_options, run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', metavar='CONFIG', nargs='?', help='config file; not needed with --data')
    parser.add_argument(
        '--data',
        metavar='FILE_OR_FOLDER',
        help='a data.yaml (docs/own_data.md) or a folder in a known layout, loaded as the config loads pictures; without a '
        'config as mmseg does',
    )
    parser.add_argument(
        '--split',
        nargs='+',
        choices=('train', 'val', 'test'),
        help='default: train val; with --data all that it has',
    )
    parser.add_argument('--json', metavar='FILE', help='write all faults, warnings and counts here')
    parser.add_argument(
        '--show', type=int, default=40, metavar='N', help='faults of a split on the screen (40)'
    )
    parser.add_argument('--jobs', type=int, default=None, help='threads (one per core)')
    parser.add_argument('--no-cache', action='store_true', help='read every file anew')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.jobs is not None and args.jobs < 1:
        parser.error(f'--jobs {args.jobs}: at least 1')
    if not args.config and not args.data:
        parser.error('CONFIG is needed, or --data')
    if args.cfg_options and not args.config:
        parser.error('--cfg-options goes with CONFIG')
    return args


def run(args: argparse.Namespace) -> int:
    from mmseg_tapadl.datasets.integrity import check_splits, fault_lines
    from mmseg_tapadl.datasets.named_data import SPLITS, own_splits, read_splits
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.utils import InputError, write_json

    used = args.split or SPLITS
    if args.config:
        cfg = load_config(args.config, args.cfg_options, data=args.data, used=used)
    else:
        cfg = read_splits(args.data, used)
    splits = args.split or (own_splits(cfg) if args.data else ['train', 'val'])
    missing = [split for split in splits if args.data and not cfg.get(f'{split}_dataloader')]
    if missing:
        raise InputError(f'--data {args.data}: has no {" and no ".join(missing)} to check')
    reports = check_splits(cfg, splits, jobs=args.jobs, cache=not args.no_cache)
    if args.json:
        write_json(args.json, {split: report.to_json() for split, report in reports.items()})
    for report in reports.values():
        print(report.summary())
        for line in [*fault_lines(report, args.show), *(f'note: {text}' for text in report.warnings)]:
            print(f'  {line}')
    return int(any(report.faults for report in reports.values()))


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
