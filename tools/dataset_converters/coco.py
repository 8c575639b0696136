"""Draws the polygons of COCO annotations as masks of ids, one PNG a picture, for a data.yaml.

Examples:
    python tools/dataset_converters/coco.py annotations/instances_train.json masks/train
    python tools/dataset_converters/coco.py annotations/instances_val.json masks/val --background 0

Smaller objects lie over larger ones. The ids are those of the categories where 8 bits hold them; the lines for the
data.yaml are printed. Masks that are there are left alone, or named where they differ. Needs pycocotools
(pip install "mmseg_tapadl[coco]").
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils.command_line import run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('annotations', metavar='FILE.json', help='COCO annotations of instances or stuff')
    parser.add_argument('target', metavar='DIR', help='where masks are written, by the names of the pictures')
    parser.add_argument(
        '--background',
        type=int,
        default=255,
        metavar='ID',
        help='the id of pixels of no object (255: they do not count)',
    )
    args = parser.parse_args()
    if not 0 <= args.background <= 255:
        parser.error(f'--background {args.background}: 0 to 255')
    return args


def run(args: argparse.Namespace) -> None:
    import json

    from mmseg_tapadl.datasets.coco_masks import convert_coco

    done = convert_coco(args.annotations, args.target, background=args.background)
    print(f'{args.target}: {done.written} masks of {done.objects} objects')
    if done.passed_over:
        print(f'{done.passed_over} objects have less than three corners and are left out')
    print('for the data.yaml:\nclasses:')
    if args.background != 255:
        print(f'  - {{name: background, ids: [{args.background}]}}')
    for number, name in done.names.items():
        print(f'  - {{name: {json.dumps(name, ensure_ascii=False)}, ids: [{number}]}}')
    if args.background == 255:
        print('ignore: {ids: [255]}')


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
