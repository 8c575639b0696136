#!/usr/bin/env python
"""Exports a trained model as one ONNX file, and proves that it is the same model.

Examples:
    python tools/export.py configs/segformer_tapadl_cityscapes.py CHECKPOINT --out model.onnx
    python tools/export.py CONFIG CHECKPOINT --out model.onnx --dynamic --pictures data/camvid/leftImg8bit/val
    python tools/predict.py --model onnx:model.onnx street.jpg --out out
    python tools/test_robustness.py --model onnx:model.onnx --data data/cityscapes

The file takes float32 RGB pictures (B, 3, H, W) of 0 to 255 and gives the logits (B, C, H, W) at that size: the
normalisation is inside, names and colours of the classes are in its metadata. It is compared with PyTorch on real
pictures; OUT.json tells how far they differ and how long both take. A file that does not agree is not written.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import add_cfg_options, add_trust_checkpoint, run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='its weights, .pth or .safetensors')
    parser.add_argument('--out', required=True, metavar='FILE.onnx', help='the file to write')
    parser.add_argument(
        '--dynamic', action='store_true', help='take pictures of any size (default: one size)'
    )
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='the one size (default: that of the first picture)',
    )
    parser.add_argument(
        '--pictures',
        metavar='FILE_OR_DIR',
        help="to compare on, up to three of them (default: the config's test set, else a painted one)",
    )
    parser.add_argument(
        '--data',
        metavar='FILE_OR_FOLDER',
        help='whose classes the model has, and whose pictures it is compared on: a data.yaml (docs/own_data.md), a folder in a '
        "known layout, or a config (default: the checkpoint's classes, else the config's)",
    )
    add_cfg_options(parser)
    add_trust_checkpoint(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.checkpoints.checkpoint_loader import trust_checkpoint
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.engine.console import quiet_warnings
    from mmseg_tapadl.export.onnx_export import export_onnx
    from mmseg_tapadl.export.pictures import pictures_to_compare_on

    quiet_warnings()
    if args.trust_checkpoint:
        trust_checkpoint(args.checkpoint)
    config = load_config(args.config, args.cfg_options, data=args.data)
    proof = export_onnx(
        config,
        args.checkpoint,
        args.out,
        pictures=pictures_to_compare_on(config, source=args.pictures, data=args.data),
        data=args.data,
        dynamic=args.dynamic,
        size=tuple(args.size) if args.size else None,
    )
    print(proof.text())
    print(f'wrote {args.out} and {args.out}.json')


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
