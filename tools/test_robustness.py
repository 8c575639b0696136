#!/usr/bin/env python
"""Measures how a segmenter holds up under 16 (or 15, or 19) synthetic corruptions.

Works for any mmseg 1.x config and checkpoint, for models of Hugging Face, ONNX files and Python functions. Pictures are
corrupted on the fly; every finished cell (corruption x severity) is saved at once, and running the same command again
continues where it stopped.

Examples:
    python tools/test_robustness.py configs/fan_tapadl_cityscapes.py work_dirs/fan/iter_160000.pth
    python tools/test_robustness.py CONFIG CHECKPOINT --preset level5 --work-dir work_dirs/level5
    python tools/test_robustness.py CONFIG CHECKPOINT --corruptions fog frost --severities 1 3 5
    python tools/test_robustness.py CONFIG CHECKPOINT --pregenerated data/cityscapes_c
    python tools/test_robustness.py CONFIG CHECKPOINT --temperature temperature.json
    python tools/test_robustness.py --model hf:my_segformer --data data/cityscapes
    python tools/test_robustness.py --model onnx:model.onnx --data data/acdc
    python tools/test_robustness.py --model python:my_model.py:predict --data data/camvid
    torchrun --nproc-per-node 4 tools/test_robustness.py CONFIG CHECKPOINT --launcher pytorch

python:FILE.py:FUNCTION is a program and runs as one: predict(image) takes an (H, W, 3) uint8 RGB array and returns the
(H, W) class ids of the data set, or (ids, confidence). The other kinds are data, and nothing in them is run.

Writes robustness.json, robustness.csv and report.html into the work dir.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import (
    add_launcher,
    add_model_and_data,
    add_temperature,
    check_model_and_data,
    run_tool,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add_model_and_data(parser)
    parser.add_argument(
        '--preset', default='cityscapes-c', help='cityscapes-c (default), imagenetc15, level5 or fan19s3'
    )
    parser.add_argument(
        '--corruptions', nargs='+', metavar='NAME', help='only these (default: those of the preset)'
    )
    parser.add_argument(
        '--severities', nargs='+', type=int, metavar='1..5', help='only these (default: those of the preset)'
    )
    parser.add_argument('--work-dir', help='default: work_dirs/<config or model>_robustness/<preset>')
    parser.add_argument(
        '--pregenerated',
        '--data-root',  # its name before --data
        metavar='DIR',
        help='a pre-generated Cityscapes-C to read instead of corrupting on the fly',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the random corruptions (default 0)')
    parser.add_argument(
        '--channel-order',
        default='bgr',
        choices=['bgr', 'rgb'],
        help='bgr: as published numbers were made (default); rgb: as the corruptions were meant',
    )
    parser.add_argument(
        '--pictures',
        nargs='+',
        default=[],
        metavar='NAME',
        help='keep small copies of these pictures (the end of their names is enough) for compare_robustness.py; of up to 512 '
        'pictures all are kept anyway',
    )
    parser.add_argument('--name', help="the model's name in the report (default: the config's)")
    parser.add_argument('--fresh', action='store_true', help='throw the finished cells in the work dir away')
    add_temperature(parser)
    add_launcher(parser)
    # Options may stand between CONFIG and CHECKPOINT.
    args = parser.parse_intermixed_args()
    check_model_and_data(parser, args)
    return args


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    if args.model:
        measure_model(args)
    else:
        measure_config(args)


def measure_model(args: argparse.Namespace) -> None:
    from mmseg_tapadl.engine.config import parse_options
    from mmseg_tapadl.inference.class_map import read_class_map
    from mmseg_tapadl.inference.open_model import open_model
    from mmseg_tapadl.robustness.benchmark import measure

    class_map = read_class_map(args.class_map) if args.class_map else None
    measure(
        open_model(args.model, options=parse_options(args.model_options or [], '--model-options')),
        args.data,
        preset=args.preset,
        corruptions=args.corruptions,
        severities=args.severities,
        work_dir=args.work_dir,
        seed=args.seed,
        channel_order=args.channel_order,
        pregenerated=args.pregenerated,
        class_map=class_map,
        fresh=args.fresh,
        temperature=args.temperature,
        pictures=args.pictures,
        name=args.name,
        launcher=args.launcher,
    )


def measure_config(args: argparse.Namespace) -> None:
    from mmseg_tapadl.checkpoints.checkpoint_loader import trust_checkpoint
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.robustness.benchmark import measure
    from mmseg_tapadl.robustness.cell_data import with_test_data
    from mmseg_tapadl.robustness.sweep import SweepOptions

    if args.trust_checkpoint:
        trust_checkpoint(args.checkpoint)
    work_dir = args.work_dir or Path('work_dirs') / f'{Path(args.config).stem}_robustness' / args.preset
    config = load_config(args.config, args.cfg_options)
    if args.data:
        config = with_test_data(config, args.data)
    options = SweepOptions(
        checkpoint=args.checkpoint,
        work_dir=Path(work_dir),
        preset=args.preset,
        corruptions=args.corruptions,
        severities=args.severities,
        seed=args.seed,
        channel_order=args.channel_order,
        pregenerated=args.pregenerated,
        fresh=args.fresh,
        temperature=args.temperature,
        pictures=args.pictures,
    )
    measure(config, options, name=args.name, launcher=args.launcher)


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
