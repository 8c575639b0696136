"""Paint the demo city: street scenes with exact labels, for trying everything without a download.

Examples:
    python tools/dataset_converters/demo_city.py data/demo_city
    python tools/dataset_converters/demo_city.py /tmp/city --train 8 --val 4 --size 256x128 --seed 1

DST is a Cityscapes root (leftImg8bit/ and gtFine/, clear weather) and an ACDC root (rgb_anon/ and gt/,
fog, night, rain and snow) at once. The same options paint the same bytes on any number of processes.
A city that is already there is kept.
"""

import argparse
import re
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils.command_line import run_tool, tool_parser


def parse_size(text: str) -> tuple[int, int]:
    """``512x256`` as (512, 256): width, height."""
    found = re.fullmatch(r'(\d+)x(\d+)', text)
    if not found:
        raise argparse.ArgumentTypeError(f'{text!r} is not WIDTHxHEIGHT, such as 512x256')
    return int(found[1]), int(found[2])


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('target', metavar='DST', help='root of the city, used as data_root')
    parser.add_argument('--train', type=int, default=64, metavar='N', help='clear training pictures (64)')
    parser.add_argument('--val', type=int, default=16, metavar='N', help='clear validation pictures (16)')
    parser.add_argument(
        '--adverse-train', type=int, default=4, metavar='N', help='training pictures per weather (4)'
    )
    parser.add_argument(
        '--adverse-val', type=int, default=4, metavar='N', help='validation pictures per weather (4)'
    )
    parser.add_argument(
        '--adverse-test', type=int, default=2, metavar='N', help='test pictures per weather, no labels (2)'
    )
    parser.add_argument('--size', type=parse_size, default=(512, 256), metavar='WxH', help='512x256')
    parser.add_argument('--seed', type=int, default=0, help='another seed, another city (0)')
    parser.add_argument('--jobs', type=int, default=None, help='processes (one per core)')
    parser.add_argument('--overwrite', action='store_true', help='replace a city painted with other options')
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from demo_city import DemoCityOptions, write_demo_city

    options = DemoCityOptions(
        train=args.train,
        val=args.val,
        adverse_train=args.adverse_train,
        adverse_val=args.adverse_val,
        adverse_test=args.adverse_test,
        width=args.size[0],
        height=args.size[1],
        seed=args.seed,
    )
    counts = write_demo_city(args.target, options, overwrite=args.overwrite, jobs=args.jobs)
    if counts is None:
        print(f'{args.target}: already there, kept')
    else:
        print(
            f'{args.target}: {sum(counts.values())} pictures ({", ".join(f"{k} {n}" for k, n in counts.items())})'
        )


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
