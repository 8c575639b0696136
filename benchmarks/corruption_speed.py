"""Pictures per second of CorruptImage for each corruption, beside the library called directly.

    OMP_NUM_THREADS=1 python benchmarks/corruption_speed.py
    python benchmarks/corruption_speed.py --size 1024 512 --repeats 3

One core. The wrapper adds the seed, the saved and restored state of NumPy's generator and the checks; it is
meant to cost at most 5 % or 1 ms a picture.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

# One core, before the libraries start their threads.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--size', nargs=2, type=int, default=[2048, 1024], metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('--severity', type=int, default=3)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--out', help='also write the figures here, as JSON')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import cv2
    import numpy as np
    from imagecorruptions import corrupt

    from mmseg_tapadl.datasets.corruptions import CORRUPTIONS, corruption_seed, picture_identity, warm_up
    from mmseg_tapadl.datasets.transforms import CorruptImage

    cv2.setNumThreads(1)
    warm_up()
    width, height = args.size
    rough = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(rough, (0, 0), 5), None, 0, 255, cv2.NORM_MINMAX)
    path = 'leftImg8bit/val/a/a_leftImg8bit.png'

    def seconds(call) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    print(
        f'{platform.processor() or platform.machine()}, one core, {width}x{height}, severity {args.severity}'
    )
    print(
        f'{"corruption":<20}{"pictures/s":>11}{"ours ms":>10}{"library ms":>12}{"extra ms":>10}{"ratio":>8}'
    )
    figures = {}
    for name in CORRUPTIONS:
        transform = CorruptImage(name, args.severity)
        seed = corruption_seed(picture_identity(path), name, args.severity, 0)
        extra = {'seed': seed} if name in ('glass_blur', 'impulse_noise') else {}

        def ours(transform=transform):
            transform(dict(img=image, img_path=path))

        def library(name=name, seed=seed, extra=extra):
            # The same draws: some corruptions take longer for some seeds.
            np.random.seed(seed)
            corrupt(image, severity=args.severity, corruption_name=name, **extra)

        ours(), library()
        # In turn, so that a busy machine disturbs both alike; the median difference of neighbours.
        pairs = [(seconds(ours), seconds(library)) for _ in range(args.repeats)]
        mine, theirs = (1000 * statistics.median(p[i] for p in pairs) for i in (0, 1))
        difference = 1000 * statistics.median(a - b for a, b in pairs)
        figures[name] = {'ours_ms': mine, 'library_ms': theirs, 'extra_ms': difference}
        print(
            f'{name:<20}{1000 / mine:>11.2f}{mine:>10.1f}{theirs:>12.1f}{difference:>10.2f}{mine / theirs:>8.3f}',
            flush=True,
        )
    if args.out:
        Path(args.out).write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
