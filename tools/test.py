"""Tests a checkpoint: prints the mean IoU, writes metrics.json in full precision.

    python tools/test.py configs/fan_tapadl_demo.py work_dirs/fan_tapadl_demo/iter_300.pth
    python tools/test.py configs/fan_tapadl_cityscapes.py CHECKPOINT --out labels/ --show-dir overlays/
    python tools/test.py configs/fan_tapadl_cityscapes.py CHECKPOINT --tta
    python tools/test.py configs/fan_tapadl_camvid.py CHECKPOINT --data my.yaml
    bash tools/dist_test.sh configs/fan_tapadl_cityscapes.py CHECKPOINT 4

Exit status: 0 done, 1 unexpected error, 2 wrong input (config, data or checkpoint).
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import (
    add_cfg_options,
    add_data,
    add_launcher,
    add_trust_checkpoint,
    run_tool,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='.pth or .safetensors file')
    add_data(parser, 'what to test on')
    parser.add_argument(
        '--work-dir', help='where metrics.json and the log go (default: work_dirs/<config name>)'
    )
    parser.add_argument('--out', metavar='DIR', help='save predicted label maps (8-bit PNG, train ids) here')
    parser.add_argument('--show-dir', metavar='DIR', help='save overlays of predictions on the pictures here')
    parser.add_argument(
        '--tta', action='store_true', help='average over scales and flips (tta_model, tta_pipeline)'
    )
    add_cfg_options(parser)
    add_launcher(parser)
    parser.add_argument('--skip-check', action='store_true', help='do not check the data set first')
    add_trust_checkpoint(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Tests as asked."""
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.engine.testing import test

    metrics = test(
        config=args.config,
        checkpoint=args.checkpoint,
        data=args.data,
        work_dir=args.work_dir,
        out=args.out,
        show_dir=args.show_dir,
        tta=args.tta,
        cfg_options=args.cfg_options,
        launcher=args.launcher,
        check_data=None if args.skip_check else check_data,
        trust=args.trust_checkpoint,
    )
    from mmengine.dist import is_main_process

    if is_main_process():
        print('  '.join(f'{name} {value:.2f}' for name, value in metrics.items() if isinstance(value, float)))


def check_data(cfg, splits: list[str]) -> None:
    """Looks for faults in the data set."""
    from mmseg_tapadl.datasets.integrity import check_config

    check_config(cfg, splits)


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
