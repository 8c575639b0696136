#!/usr/bin/env python
"""Measures how a segmenter holds up under 16 (or 15, or 19) synthetic corruptions.

Works for any mmseg 1.x config and checkpoint. Pictures are corrupted on the fly; every finished cell
(corruption x severity) is saved at once, and running the same command again continues where it stopped.

Examples:
    python tools/test_robustness.py configs/fan_tapadl_cityscapes.py work_dirs/fan/iter_160000.pth
    python tools/test_robustness.py CONFIG CHECKPOINT --preset level5 --work-dir work_dirs/level5
    python tools/test_robustness.py CONFIG CHECKPOINT --corruptions fog frost --severities 1 3 5
    python tools/test_robustness.py CONFIG CHECKPOINT --data-root data/cityscapes_c
    torchrun --nproc-per-node 4 tools/test_robustness.py CONFIG CHECKPOINT --launcher pytorch

Writes robustness.json, robustness.csv and report.html into the work dir.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import (
    add_cfg_options,
    add_launcher,
    add_trust_checkpoint,
    run_tool,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config of the model; its test_dataloader is measured on')
    parser.add_argument('checkpoint', help='weights, .pth or .safetensors')
    parser.add_argument(
        '--preset', default='cityscapes-c', help='cityscapes-c (default), imagenetc15, level5 or fan19s3'
    )
    parser.add_argument(
        '--corruptions', nargs='+', metavar='NAME', help='only these (default: those of the preset)'
    )
    parser.add_argument(
        '--severities', nargs='+', type=int, metavar='1..5', help='only these (default: those of the preset)'
    )
    parser.add_argument('--work-dir', help='default: work_dirs/<config>_robustness/<preset>')
    parser.add_argument(
        '--data-root', help='a pre-generated Cityscapes-C to read instead of corrupting on the fly'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the random corruptions (default 0)')
    parser.add_argument(
        '--channel-order',
        default='bgr',
        choices=['bgr', 'rgb'],
        help='bgr: as published numbers were made (default); rgb: as the corruptions were meant',
    )
    parser.add_argument('--name', help="the model's name in the report (default: the config's)")
    parser.add_argument('--fresh', action='store_true', help='throw the finished cells in the work dir away')
    add_cfg_options(parser)
    add_trust_checkpoint(parser)
    add_launcher(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.checkpoints.checkpoint_loader import trust_checkpoint
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.robustness.benchmark import measure
    from mmseg_tapadl.robustness.sweep import SweepOptions

    if args.trust_checkpoint:
        trust_checkpoint(args.checkpoint)
    work_dir = args.work_dir or Path('work_dirs') / f'{Path(args.config).stem}_robustness' / args.preset
    options = SweepOptions(
        checkpoint=args.checkpoint,
        work_dir=Path(work_dir),
        preset=args.preset,
        corruptions=args.corruptions,
        severities=args.severities,
        seed=args.seed,
        channel_order=args.channel_order,
        pregenerated=args.data_root,
        fresh=args.fresh,
    )
    measure(load_config(args.config, args.cfg_options), options, name=args.name, launcher=args.launcher)


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
