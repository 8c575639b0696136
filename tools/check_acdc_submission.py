#!/usr/bin/env python
"""Checks a zip for ACDC's test server before it is uploaded.

Examples:
    python tools/check_acdc_submission.py work_dirs/acdc/acdc_submission.zip --data-root data/acdc
    python tools/check_acdc_submission.py work_dirs/acdc/acdc_submission_fog.zip --data-root data/acdc --condition fog

Count, names, place, size, bit depth, channels, values and duplicates are checked; every fault is printed
with its file. Exit status: 0 good, 1 faults, 2 nothing could be checked.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('archive', metavar='ZIP', help='the submission')
    parser.add_argument('--data-root', required=True, help='the ACDC folder with the test pictures')
    parser.add_argument(
        '--condition',
        choices=['fog', 'night', 'rain', 'snow'],
        help='the submission answers this condition alone',
    )
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    from mmseg_tapadl.evaluation.acdc_submission import check_submission

    faults = check_submission(args.archive, args.data_root, condition=args.condition)
    for fault in faults:
        print(fault)
    if faults:
        print(f'{len(faults)} fault{"s" if len(faults) > 1 else ""} in {args.archive}')
        return 1
    print(f'{args.archive} is ready to be uploaded')
    return 0


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
