#!/usr/bin/env python
"""Fits a temperature for a model's logits on one half of a data set and reports it on the other.

Examples:
    python tools/calibrate.py configs/fan_tapadl_cityscapes.py work_dirs/fan/iter_160000.pth --out temperature.json
    python tools/calibrate.py CONFIG CHECKPOINT --data data/acdc
    python tools/calibrate.py --model hf:my_segformer --data data/cityscapes --out temperature.json
    python tools/predict.py CONFIG CHECKPOINT street.jpg --out out --confidence --temperature temperature.json
    python tools/test_robustness.py CONFIG CHECKPOINT --temperature temperature.json

Fitted on every other picture, reported on the rest. The labels that a model predicts do not depend on the temperature.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import add_model_and_data, check_model_and_data, run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add_model_and_data(parser)
    parser.add_argument('--out', metavar='JSON', help='write the temperature and the figures here')
    # Options may stand between CONFIG and CHECKPOINT.
    args = parser.parse_intermixed_args()
    check_model_and_data(parser, args)
    return args


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    import mmseg_tapadl.register  # noqa: F401  what the config names
    from mmseg_tapadl.robustness.calibration import calibrate
    from mmseg_tapadl.utils import shown, write_json

    with plain_readers():
        figures = calibrate(measured_model(args))
    print(f'{"":<14}  before     after')
    for key in figures['before']:
        row = [figures[name][key] for name in ('before', 'after')]
        print(f'{key:<14}' + '  '.join('       -' if value is None else f'{value:8.4f}' for value in row))
    if args.out:
        write_json(args.out, figures)
        print(f'wrote {shown(args.out)}')


def measured_model(args: argparse.Namespace):
    from mmseg_tapadl.checkpoints.checkpoint_loader import trust_checkpoint
    from mmseg_tapadl.datasets.named_data import read_data
    from mmseg_tapadl.engine.config import load_config, parse_options
    from mmseg_tapadl.inference.class_map import read_class_map
    from mmseg_tapadl.inference.open_model import open_model
    from mmseg_tapadl.robustness.measured_model import MeasuredConfig, MeasuredPredictor

    if args.model:
        class_map = read_class_map(args.class_map) if args.class_map else None
        predictor = open_model(args.model, options=parse_options(args.model_options or [], '--model-options'))
        return MeasuredPredictor(predictor, read_data(args.data), name=predictor.name, class_map=class_map)
    if args.trust_checkpoint:
        trust_checkpoint(args.checkpoint)
    config = load_config(args.config, args.cfg_options, data=args.data, used=('test',))
    return MeasuredConfig(config, args.checkpoint)


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
