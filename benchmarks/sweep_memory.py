"""Peak memory of one process after sweeps of few and of many pictures and cells, in MB, as JSON.

    python benchmarks/sweep_memory.py

A model by colour alone on made-up pictures of 256x128 px, without workers. tests/robustness/test_memory.py runs it.
"""

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# works from a checkout without installing
sys.path.insert(0, str(ROOT))

HEIGHT, WIDTH, CLASSES = 128, 256, 19


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--few', type=int, default=20, help='pictures')
    parser.add_argument('--many', type=int, default=200, help='pictures')
    return parser.parse_args()


def make_pictures(root: Path, count: int) -> Path:
    """Pictures of the size above in the layout of Cityscapes."""
    import cv2
    import numpy as np
    from PIL import Image

    for number in range(count):
        random = np.random.default_rng(number)
        picture = cv2.resize(random.integers(0, 256, (8, 16, 3), dtype=np.uint8), (WIDTH, HEIGHT))
        labels = np.kron(random.integers(0, CLASSES, (8, 16)), np.ones((16, 16))).astype(np.uint8)
        for folder, suffix, array in (
            ('leftImg8bit/val/ulm', 'leftImg8bit', picture),
            ('gtFine/val/ulm', 'gtFine_labelTrainIds', labels),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / f'ulm_{number:06d}_{suffix}.png')
    return root


def model_by_colour():
    """A predictor whose logits, 2.5 MB a picture, follow from colours alone."""
    import torch

    from mmseg_tapadl.inference.interface import PicturePredictor, Prediction

    weights = torch.randn(CLASSES, 3, generator=torch.Generator().manual_seed(0)) / 20

    class ByColour(PicturePredictor):
        name = 'by colour'

        def predict(self, pictures):
            logits = [torch.einsum('hwc,kc->khw', torch.tensor(one).float(), weights) for one in pictures]
            return [Prediction(found.argmax(dim=0), logits=found) for found in logits]

        def identity(self):
            return {'kind': 'by colour'}

    return ByColour()


def peak() -> float:
    """MB that this process has needed at most so far."""
    unit = 1 << 20 if sys.platform == 'darwin' else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    args = parse_args()
    from mmseg_tapadl.datasets.named_data import read_data
    from mmseg_tapadl.robustness.benchmark import measure

    model = model_by_colour()
    with tempfile.TemporaryDirectory() as folder:
        few, many = (make_pictures(Path(folder) / str(count), count) for count in (args.few, args.many))
        found = {}
        for name, data, severities in (
            ('few', few, [1]),
            ('many pictures', many, [1]),
            ('many cells', few, [1, 2, 3, 4, 5]),
        ):
            described = read_data(data)
            # Without workers, whose buffers come and go as they please.
            described.test_dataloader.num_workers = 0
            measure(
                model,
                described,
                corruptions=['contrast'],
                severities=severities,
                work_dir=f'{folder}/work {name}',
            )
            found[name] = round(peak(), 1)
    print(json.dumps(found))


if __name__ == '__main__':
    main()
