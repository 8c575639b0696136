#!/usr/bin/env python
"""Looks at a folder of pictures and masks and writes a first data.yaml, and a sheet of pictures under their masks.

Examples:
    python tools/init_data.py pictures
    python tools/init_data.py pictures --out street.yaml

The file tells which pictures and masks there are and which ids or colours, with their shares; the classes' names are yours
to write. Beside it, the sheet (data.jpg) shows at once whether it was understood. Where no folder and no list says which
pictures are for training, two lists are written into the folder. Nothing is overwritten without --overwrite.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('folder', metavar='DIR', help='holds pictures and masks, in any folders')
    parser.add_argument('--out', metavar='FILE.yaml', help='what to write (default: DIR/data.yaml)')
    parser.add_argument('--pictures', type=int, default=6, metavar='N', help='on the sheet (6)')
    parser.add_argument('--overwrite', action='store_true', help='replace files that are there')
    args = parser.parse_args()
    if args.pictures < 1:
        parser.error(f'--pictures {args.pictures}: at least 1')
    if args.out and Path(args.out).suffix.lower() not in ('.yaml', '.yml'):
        parser.error(f'--out {args.out}: must end in .yaml')
    return args


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.datasets.data_yaml.first_file import refuse_existing, write_first_file
    from mmseg_tapadl.evaluation.data_sheet import write_sheet

    file = Path(args.out) if args.out else Path(args.folder) / 'data.yaml'
    sheet = file.with_suffix('.jpg')
    refuse_existing([sheet], overwrite=args.overwrite)
    for line in write_first_file(args.folder, file, overwrite=args.overwrite):
        print(line)
    count = write_sheet(file, sheet, count=args.pictures)
    print(f'wrote {sheet}: {count} pictures under their masks')
    print(f'next: python tools/check_dataset.py --data "{file}"')


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
