"""Peak memory of a process after sweeps of few and of many pictures and cells, as JSON; run as a program.

python -m tests.robustness.sweep_memory
"""

import json
import resource
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from mmseg_tapadl.datasets.named_data import read_data
from mmseg_tapadl.inference.interface import PicturePredictor, Prediction
from mmseg_tapadl.robustness.benchmark import measure

HEIGHT, WIDTH = 128, 256


class ByColour(PicturePredictor):
    """Logits of 19 classes from colours alone: 2.5 MB a picture."""

    name = 'by colour'
    weights = torch.randn(19, 3, generator=torch.Generator().manual_seed(0)) / 20

    def predict(self, pictures):
        logits = [
            (torch.from_numpy(picture).float() @ self.weights.T).permute(2, 0, 1) for picture in pictures
        ]
        return [Prediction(found.argmax(dim=0), logits=found) for found in logits]

    def identity(self):
        return {'kind': 'by colour'}


def make_pictures(root: Path, count: int) -> Path:
    """Pictures of the size above in the layout of Cityscapes."""
    for number in range(count):
        random = np.random.default_rng(number)
        picture = cv2.resize(random.integers(0, 256, (8, 16, 3), dtype=np.uint8), (WIDTH, HEIGHT))
        labels = np.kron(random.integers(0, 19, (8, 16)), np.ones((16, 16))).astype(np.uint8)
        for folder, suffix, array in (
            ('leftImg8bit/val/ulm', 'leftImg8bit', picture),
            ('gtFine/val/ulm', 'gtFine_labelTrainIds', labels),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / f'ulm_{number:06d}_{suffix}.png')
    return root


def peak() -> float:
    """MB that this process has needed at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == 'darwin' else 1 << 10
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        few, many = (make_pictures(Path(folder) / str(count), count) for count in (20, 200))
        found = {}
        for name, data, severities in (
            ('few', few, [1]),
            ('many pictures', many, [1]),
            ('many cells', few, [1, 2, 3, 4, 5]),
        ):
            described = read_data(data)
            # Without workers, whose buffers would come and go as they please.
            described.test_dataloader.num_workers = 0
            measure(
                ByColour(),
                described,
                corruptions=['contrast'],
                severities=severities,
                work_dir=f'{folder}/work {name}',
            )
            found[name] = peak()
    print(json.dumps(found))


if __name__ == '__main__':
    main()
