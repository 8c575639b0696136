#!/usr/bin/env python
"""Shows what attention does in one model, or in several side by side, on clean and on corrupted pictures.

Examples:
  python tools/analysis_tools/attention.py CONFIG CHECKPOINT street.jpg --corruption gaussian_noise --out work_dirs/attention
  python tools/analysis_tools/attention.py CONFIG CHECKPOINT street.jpg --point 240 180 --layers -1 --out OUT
  python tools/analysis_tools/attention.py CONFIG CHECKPOINT --data data/camvid --limit 200 --corruption fog --severity 1 3 5 --out OUT
  python tools/analysis_tools/attention.py street.jpg --compare base.py:base.pth tapadl.py:tapadl.pth \\
      --corruption gaussian_noise --out OUT
  torchrun --nproc-per-node 4 tools/analysis_tools/attention.py CONFIG CHECKPOINT --data data/camvid --launcher pytorch --out OUT

Writes attention.html (self-contained), attention.json and attention.csv into OUT. docs/attention.md says what is measured.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils.command_line import (
    add_cfg_options,
    add_launcher,
    add_models_and_pictures,
    add_trust_checkpoint,
    run_tool,
    split_models,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add_models_and_pictures(parser)
    parser.add_argument(
        '--data',
        metavar='DATA',
        help='in place of pictures: a data.yaml, the folder of Cityscapes, CamVid or ACDC (its val), or a config (its '
        'test_dataloader), whose classes the models have; '
        'with its labels the page also tells how the measures go with the drop in mIoU',
    )
    parser.add_argument('--limit', type=int, metavar='N', help='only the first N pictures of --data')
    parser.add_argument(
        '--corruption',
        nargs='+',
        default=[],
        metavar='NAME',
        help='compare with pictures corrupted in this way',
    )
    parser.add_argument(
        '--severity', nargs='+', type=int, metavar='1..5', help='of each corruption (default: 3)'
    )
    parser.add_argument(
        '--layers',
        nargs='+',
        type=int,
        metavar='N',
        help='only these attentions, numbered from 0 in the order of the forward pass, negative from the end (default: all)',
    )
    parser.add_argument(
        '--heads', nargs='+', type=int, metavar='N', help='show only these heads (default: all)'
    )
    parser.add_argument(
        '--point',
        nargs=2,
        type=float,
        metavar=('X', 'Y'),
        help='pixel whose token is asked where it looks (default: the middle)',
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='where the three files are written')
    parser.add_argument('--device', help='cpu, cuda:0, ... (default: a GPU where there is one)')
    add_cfg_options(parser)
    add_trust_checkpoint(parser, 'the checkpoints')
    add_launcher(parser)
    args = parser.parse_intermixed_args()
    split_models(parser, args)
    args.config = args.models[0][0]
    if bool(args.images) == bool(args.data):
        parser.error('give pictures, or --data DATA, and not both')
    if args.severity and not args.corruption:
        parser.error('--severity goes with --corruption')
    return args


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmengine.dist import is_main_process

    from mmseg_tapadl.analysis.attention_report import ModelFiles, ReportOptions, report_attention
    from mmseg_tapadl.checkpoints.checkpoint_loader import trust_checkpoint
    from mmseg_tapadl.engine.config import load_config

    options = ReportOptions(
        out=Path(args.out),
        images=args.images,
        data=args.data,
        limit=args.limit,
        corruptions=args.corruption,
        severities=args.severity or (3,),
        layers=args.layers,
        heads=args.heads,
        point=None if args.point is None else tuple(args.point),
        device=args.device,
        launcher=args.launcher,
    )
    models = []
    for config, checkpoint in args.models:
        if args.trust_checkpoint:
            trust_checkpoint(checkpoint)
        cfg = load_config(config, args.cfg_options, data=args.data, used=('test',))
        models.append(ModelFiles(cfg, checkpoint))
    report_attention(models, options, say=lambda text: print(text, flush=True) if is_main_process() else None)


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
