#!/usr/bin/env python
"""Puts the robustness of several models side by side, on the screen and as one self-contained page.

Examples:
    python tools/compare_robustness.py work_dirs/a/robustness.json work_dirs/b/robustness.json --out compare.html
    python tools/compare_robustness.py A.json B.json --out compare.html --pictures munster_000000_000019_leftImg8bit.png

Differences are to the first model; those that another choice of test pictures could undo are marked with ~.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        'results', nargs='+', metavar='JSON', help='robustness.json of tools/test_robustness.py'
    )
    parser.add_argument('--out', required=True, metavar='HTML', help='the page to write')
    parser.add_argument(
        '--pictures',
        nargs='+',
        default=[],
        metavar='NAME',
        help='show these pictures too (the end of their names is enough), in every condition',
    )
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.robustness.compare import write_comparison
    from mmseg_tapadl.utils import shown

    page, headline = write_comparison(args.results, args.out, pictures=args.pictures)
    for row in headline:
        words = [f'{row.title:<24}']
        for entry in row.entries:
            words.append('      -' if entry.value is None else f'{entry.value:7.2f}')
            if entry.difference is not None:
                words.append(f'({entry.difference:+.2f}{"~" if entry.noise else ""})')
        print('  '.join(words))
    print(f'wrote {shown(page)}')


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
