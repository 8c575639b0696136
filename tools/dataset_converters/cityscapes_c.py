#!/usr/bin/env python
"""Makes Cityscapes-C as files, for those who want files; the sweep itself needs none.

Examples:
    python tools/dataset_converters/cityscapes_c.py data/cityscapes data/cityscapes_c --workers 16
    python tools/dataset_converters/cityscapes_c.py data/cityscapes data/fog --corruptions fog --severities 3
    python tools/test_robustness.py CONFIG CHECKPOINT --data-root data/cityscapes_c

SRC is a Cityscapes root. Writes DST/<corruption>/<severity>/<city>/*_leftImg8bit.png and DST/manifest.json
with a SHA-256 for every file: the very pixels that are otherwise made on the fly. Run again to continue.
The whole of Cityscapes-C takes some 100 GB.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils import RunStopped
from mmseg_tapadl.utils.command_line import run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('source', metavar='SRC', help='Cityscapes root')
    parser.add_argument('target', metavar='DST', help='folder to make')
    parser.add_argument('--split', default='val', help='of the source (default val)')
    parser.add_argument(
        '--preset', default='cityscapes-c', help='cityscapes-c (default), imagenetc15, level5 or fan19s3'
    )
    parser.add_argument('--corruptions', nargs='+', metavar='NAME', help='only these')
    parser.add_argument('--severities', nargs='+', type=int, metavar='1..5', help='only these')
    parser.add_argument('--seed', type=int, default=0, help='of the random corruptions (default 0)')
    parser.add_argument(
        '--channel-order', default='bgr', choices=['bgr', 'rgb'], help='as in test_robustness.py'
    )
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='processes (default: all cores)'
    )
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from mmseg_tapadl.datasets.cityscapes_c import Settings, pregenerate
    from mmseg_tapadl.evaluation.robustness_presets import select_cells

    try:
        cells = select_cells(args.preset, corruptions=args.corruptions, severities=args.severities)
        made = pregenerate(
            args.source,
            args.target,
            Settings(cells=tuple(map(tuple, cells)), seed=args.seed, channel_order=args.channel_order),
            split=args.split,
            workers=args.workers,
            progress=lambda files, total: tqdm(files, total=total, unit='file', dynamic_ncols=True),
        )
    except KeyboardInterrupt:
        raise RunStopped(
            signal.SIGINT, 'interrupted; finished files are kept, run again to continue'
        ) from None
    print(
        f'made {made["made"]} files, skipped {made["skipped"]} finished ones; {args.target}/manifest.json lists them'
    )


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
