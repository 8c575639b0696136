"""Labels a picture, or every picture below a folder, and writes label maps and overlays to look at.

Examples:
  python tools/predict.py configs/fan_tapadl_cityscapes.py work_dirs/fan_tapadl_cityscapes/iter_160000.pth street.jpg --out out
  python tools/predict.py CONFIG CHECKPOINT data/camvid/leftImg8bit/val --out work_dirs/predictions
  python tools/predict.py --model onnx:model.onnx street.jpg --out out

OUT/labels/NAME.png holds class ids (8 bit, one channel), OUT/overlays/NAME.png the picture under its classes'
colours. Subfolders are kept. With --confidence, OUT/confidence/NAME.png holds the probability of the predicted class
(16 bit, one channel; 65535 stands for 1).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import (
    add_cfg_options,
    add_data,
    add_model,
    add_trust_checkpoint,
    check_model,
    run_tool,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', nargs='?', help='config file of the model')
    parser.add_argument('checkpoint', nargs='?', help='its weights (.pth or .safetensors)')
    parser.add_argument('source', metavar='IMAGE_OR_FOLDER', help='a picture, or a folder of pictures')
    parser.add_argument('--out', required=True, metavar='DIR', help='where labels/ and overlays/ are written')
    parser.add_argument('--device', help='cpu, cuda:0, ... (default: a GPU where there is one)')
    parser.add_argument(
        '--confidence', action='store_true', help='also write how sure the model is, as 16-bit pictures'
    )
    add_data(parser, 'whose classes the model has')
    add_cfg_options(parser)
    add_trust_checkpoint(parser)
    add_model(parser)
    # Options may stand between CONFIG, CHECKPOINT and the pictures.
    args = parser.parse_intermixed_args()
    check_model(parser, args)
    return args


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    count = sum(1 for _ in predictions(args))
    print(f'{count} picture{"s" if count != 1 else ""}: {args.out}/labels and {args.out}/overlays')


def predictions(args: argparse.Namespace) -> Iterator:
    from mmseg_tapadl.checkpoints.checkpoint_loader import trust_checkpoint
    from mmseg_tapadl.engine.config import load_config, parse_options
    from mmseg_tapadl.inference.label_files import predict_files
    from mmseg_tapadl.inference.open_model import open_model
    from mmseg_tapadl.inference.predictor import Predictor

    if args.model:
        options = parse_options(args.model_options or [], '--model-options')
        return predict_files(
            open_model(args.model, options=options, device=args.device),
            args.source,
            args.out,
            confidence=args.confidence,
        )
    if args.trust_checkpoint:
        trust_checkpoint(args.checkpoint)
    config = load_config(args.config, args.cfg_options, data=args.data)
    return Predictor(config, args.checkpoint, device=args.device).predict_files(
        args.source, args.out, confidence=args.confidence
    )


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
