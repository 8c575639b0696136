#!/usr/bin/env python
"""Makes the raw submission of the BRAVO challenge from predictions, and checks one.

Examples:
    python tools/predict.py CONFIG CHECKPOINT data/bravo --out work_dirs/bravo --confidence
    python tools/bravo_submission.py work_dirs/bravo --data-root data/bravo --out bravo_raw.tar
    python tools/bravo_submission.py --check bravo_raw.tar --data-root data/bravo

The data root holds bravo_ACDC, bravo_SMIYC, ... as the challenge names them. The challenge's own encoder turns the raw
submission into the one that is uploaded. Exit status: 0 good, 1 faults, 2 nothing could be made or checked.
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
        'predictions', nargs='?', metavar='DIR', help='what tools/predict.py --confidence wrote'
    )
    parser.add_argument('--data-root', required=True, help="the folder with the challenge's pictures")
    parser.add_argument('--out', metavar='TAR', help='the submission to write')
    parser.add_argument('--check', metavar='TAR', help='check this submission instead')
    args = parser.parse_args()
    if bool(args.check) == bool(args.predictions and args.out):
        parser.error('give DIR and --out to make a submission, or --check to check one')
    return args


def run(args: argparse.Namespace) -> int:
    from mmseg_tapadl.evaluation.bravo_submission import check_submission, write_submission

    if args.predictions:
        count = write_submission(args.predictions, args.data_root, args.out)
        print(f'{count} pictures are in {args.out}')
        return 0
    faults = check_submission(args.check, args.data_root)
    for fault in faults:
        print(fault)
    if faults:
        print(f'{len(faults)} fault{"s" if len(faults) > 1 else ""} in {args.check}')
        return 1
    print(f'{args.check} is ready to be encoded')
    return 0


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
