"""How long the check of a data set takes before a run: 500 pictures of 2048x1024, then again with its cache.

    python benchmarks/data_check.py
    python benchmarks/data_check.py --pictures 100

Two painted pictures are linked under many names: each is read and decoded as often as it is listed. The targets
are 30 s for the first check on two cores and 1 s for the second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Works from a checkout without installing.
sys.path.insert(0, str(ROOT))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--pictures', type=int, default=500, metavar='N')
    return parser.parse_args()


def paint_and_link(folder: Path, count: int) -> Path:
    """Paints two large pictures with labels and links them ``count`` times; returns the data root."""
    painted, root = folder / 'painted', folder / 'city'
    painter = [sys.executable, str(ROOT / 'tools/dataset_converters/demo_city.py'), str(painted)]
    subprocess.run(
        [*painter, '--train', '2', '--val', '1', '--size', '2048x1024'], check=True, capture_output=True
    )
    kinds = {'leftImg8bit': 'leftImg8bit.png', 'gtFine': 'gtFine_labelTrainIds.png'}
    for kind, suffix in kinds.items():
        files = sorted((painted / kind / 'train').rglob(f'*{suffix}'))
        target = root / kind / 'train' / 'city'
        target.mkdir(parents=True)
        for i in range(count):
            os.link(files[i % 2], target / f'city_{i:06d}_000019_{suffix}')
    return root


def main() -> int:
    args = parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # The cache of this measurement is its own: the first check finds it empty.
        os.environ['XDG_CACHE_HOME'] = str(folder / 'cache')
        root = paint_and_link(folder, args.pictures)
        from mmseg_tapadl.datasets.integrity import check_dataset

        config = dict(
            type='CityscapesDataset',
            data_root=str(root),
            data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        )
        for name in ('first', 'second'):
            start = time.perf_counter()
            report = check_dataset(config, split='train', progress=False)
            print(f'{name:6} check of {args.pictures} pictures: {time.perf_counter() - start:6.2f} s')
            report.raise_if_faulty()
    return 0


if __name__ == '__main__':
    sys.exit(main())
