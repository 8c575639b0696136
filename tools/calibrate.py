#!/usr/bin/env python
"""Fits a temperature for a model's logits on one half of a data set and reports it on the other.

Examples:
    python tools/calibrate.py configs/fan_tapadl_cityscapes.py work_dirs/fan/iter_160000.pth --out temperature.json

The pictures are those of the config's test_dataloader: fitted on every other one, reported on the rest. The labels that a
model predicts do not depend on the temperature.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import (
    add_cfg_options,
    add_data,
    add_trust_checkpoint,
    run_tool,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='its weights (.pth or .safetensors)')
    parser.add_argument('--out', metavar='JSON', help='also write the figures here')
    add_data(parser, 'what to fit and report on')
    add_cfg_options(parser)
    add_trust_checkpoint(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers, trust_checkpoint
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    import mmseg_tapadl.register  # noqa: F401  what the config names
    from mmseg_tapadl.robustness.calibration import calibrate
    from mmseg_tapadl.robustness.measured_model import MeasuredConfig
    from mmseg_tapadl.utils import shown, write_json

    if args.trust_checkpoint:
        trust_checkpoint(args.checkpoint)
    with plain_readers():
        figures = calibrate(
            MeasuredConfig(
                load_config(args.config, args.cfg_options, data=args.data, used=('test',)), args.checkpoint
            )
        )
    for key in figures['before']:
        row = [figures[name][key] for name in ('before', 'after')]
        print(f'{key:<14}' + '  '.join('       -' if value is None else f'{value:8.4f}' for value in row))
    if args.out:
        write_json(args.out, figures)
        print(f'wrote {shown(args.out)}')


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
