#!/usr/bin/env python
"""Puts the robustness of several models side by side, on the screen and as one self-contained page.

Examples:
    python tools/compare_robustness.py work_dirs/a/robustness.json work_dirs/b/robustness.json --out compare.html

Differences are to the first model; those that another choice of test pictures could undo are marked with ~.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'results', nargs='+', metavar='JSON', help='robustness.json of tools/test_robustness.py'
    )
    parser.add_argument('--out', required=True, metavar='HTML', help='the page to write')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from mmseg_tapadl.robustness.compare import write_comparison

    try:
        page, headline = write_comparison(args.results, args.out)
    except (OSError, ValueError) as error:
        print(f'compare_robustness.py: error: {error}', file=sys.stderr)
        return 2
    for row in headline:
        shown = [f'{row.title:<24}']
        for entry in row.entries:
            shown.append('      -' if entry.value is None else f'{entry.value:7.2f}')
            if entry.difference is not None:
                shown.append(f'({entry.difference:+.2f}{"~" if entry.noise else ""})')
        print('  '.join(shown))
    print(f'wrote {page}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
