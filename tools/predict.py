"""Labels a picture, or every picture below a folder, and writes label maps and overlays to look at.

Examples:
  python tools/predict.py configs/fan_tapadl_cityscapes.py work_dirs/fan_tapadl_cityscapes/iter_160000.pth street.jpg --out out
  python tools/predict.py CONFIG CHECKPOINT data/camvid/leftImg8bit/val --out work_dirs/predictions

OUT/labels/NAME.png holds class ids (8 bit, one channel), OUT/overlays/NAME.png the picture under its classes'
colours. Subfolders are kept.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a checkout without installing


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file of the model')
    parser.add_argument('checkpoint', help='its weights (.pth or .safetensors)')
    parser.add_argument('source', metavar='IMAGE_OR_FOLDER', help='a picture, or a folder of pictures')
    parser.add_argument('--out', required=True, metavar='DIR', help='where labels/ and overlays/ are written')
    parser.add_argument('--device', help='cpu, cuda:0, ... (default: a GPU where there is one)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='changes to the config, e.g. model.test_cfg.mode=whole',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='run the program inside an old checkpoint file: only for files from people you trust',
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from mmseg_tapadl.engine.launching import run_tool

    return run_tool('predict.py', lambda: predict(args))


def predict(args: argparse.Namespace) -> None:
    from mmseg_tapadl.checkpoints.checkpoint_loader import trust_checkpoint
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.engine.console import quiet_warnings
    from mmseg_tapadl.inference.predictor import Predictor

    quiet_warnings()
    if args.trust_checkpoint:
        trust_checkpoint(args.checkpoint)
    predictor = Predictor(load_config(args.config, args.cfg_options), args.checkpoint, device=args.device)
    count = sum(1 for _ in predictor.predict_files(args.source, args.out))
    print(f'{count} picture{"s" if count != 1 else ""}: {args.out}/labels and {args.out}/overlays')


if __name__ == '__main__':
    sys.exit(main())
