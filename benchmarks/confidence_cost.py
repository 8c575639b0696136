"""What confidence, confusion matrices and small pictures add to a sweep, in processor time.

    python benchmarks/confidence_cost.py --data-root data/camvid

Beside predicting, corrupting and the three counts a class that mIoU needs alone; FAN-T with random weights, one thread.
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# works from a checkout without installing
sys.path.insert(0, str(ROOT))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', default=str(ROOT / 'configs/fan_tapadl_camvid.py'))
    parser.add_argument('--data-root', default=str(ROOT / 'data/camvid'), help='Cityscapes layout')
    parser.add_argument('--pictures', type=int, default=6)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch

    torch.set_num_threads(1)
    from mmengine.dataset import pseudo_collate
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS
    from mmseg.utils import register_all_modules

    import mmseg_tapadl.register  # noqa: F401  what the config names
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.evaluation.class_counts import labels_of_sample, score_sample
    from mmseg_tapadl.evaluation.picture_score import score_picture
    from mmseg_tapadl.evaluation.robustness_presets import Cell
    from mmseg_tapadl.robustness.cell_counts import CellCounts
    from mmseg_tapadl.robustness.cell_data import dataset_for_cell
    from mmseg_tapadl.robustness.small_pictures import SmallPictures

    register_all_modules()
    config = load_config(args.config)
    init_default_scope('mmseg')
    data = {**config.test_dataloader.dataset, 'data_root': args.data_root, 'indices': args.pictures}
    dataset = dataset_for_cell(data, Cell('fog', 3), seed=0, channel_order='bgr')
    model = revert_sync_batchnorm(MODELS.build(config.model)).eval()
    num_classes = len(dataset.metainfo['classes'])
    spent = dict.fromkeys(('loading', 'model', 'counts', 'all'), 0.0)
    counts, pictures = CellCounts(num_classes), SmallPictures(frozenset(range(args.pictures)))
    for index in range(-1, args.pictures):
        torch.set_grad_enabled(False)
        marks = [time.process_time()]
        packed = dataset[max(index, 0)]
        marks.append(time.process_time())
        sample = model.test_step(pseudo_collate([packed]))[0]
        marks.append(time.process_time())
        score_sample(sample.to_dict(), num_classes=num_classes, ignore_index=255)
        marks.append(time.process_time())
        predicted, labelled, _ = labels_of_sample(sample.to_dict())
        score = score_picture(predicted, labelled, num_classes=num_classes, logits=sample.seg_logits.data)
        counts.add(index, score) if index >= 0 else None
        pictures.add(
            index, name='', condition='', labelled_pixels=score.labelled, wrong_pixels=score.wrong,
            picture=packed['inputs'], predicted=predicted, labelled=labelled, num_classes=num_classes, ignore_index=255,
        )  # fmt: skip
        marks.append(time.process_time())
        # The first round is for warming up.
        for key, start, end in zip(spent, marks, marks[1:], strict=False):
            spent[key] += (end - start) if index >= 0 else 0.0
    start = time.process_time()
    counts.confidence.metrics()
    spent['all'] += time.process_time() - start
    before = spent['loading'] + spent['model'] + spent['counts']
    figures = {f'{key}_s': value / args.pictures for key, value in spent.items()}
    print(json.dumps({**figures, 'more': (spent['all'] - spent['counts']) / before}, indent=2))


if __name__ == '__main__':
    main()
