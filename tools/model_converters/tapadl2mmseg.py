"""Converts a public release of FAN (the paper's or NVIDIA's) into a checkpoint of this toolkit.

    python tools/model_converters/tapadl2mmseg.py tapadl_fan_base_segmentation.pth fan_tapadl.pth
    python tools/test.py configs/fan_tapadl_cityscapes.py fan_tapadl.pth

    python tools/model_converters/tapadl2mmseg.py fan_hybrid_base.pth.tar fan_imagenet.pth
    python tools/train.py configs/fan_tapadl_cityscapes.py --pretrained fan_imagenet.pth

What SRC is, its size and its TAP are told from names and shapes. Every key is used, dropped for a stated
reason, or unknown, which is an error. Nothing in SRC is run; DST is written whole or not at all. The
licence of the weights stays that of the release: see docs/model_zoo.md.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # works from a checkout without installing


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('src', metavar='SRC', help='the released file (.pth, .pth.tar, .safetensors)')
    parser.add_argument('dst', metavar='DST', help='where the checkpoint goes (.pth or .safetensors)')
    parser.add_argument(
        '--no-ema',
        action='store_true',
        help='take the last weights of an ImageNet file, not the averaged ones',
    )
    parser.add_argument(
        '--allow-unknown',
        action='store_true',
        help='leave out keys that nothing is known of, instead of refusing',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read the checkpoint even if it is a program. It can do all that you can: only for files whose '
        'origin you know',
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.checkpoints.checkpoint_io import read_checkpoint, write_checkpoint
    from mmseg_tapadl.models.released_weights import WrongWeightsError, convert_released
    from mmseg_tapadl.models.released_weights.usage import usage_of

    try:
        if Path(args.dst).resolve() == Path(args.src).resolve():
            raise ValueError(f'{args.dst}: DST is SRC itself; give another name')
        checkpoint = read_checkpoint(args.src, trust=args.trust_checkpoint)
        try:
            conversion = convert_released(
                checkpoint, use_ema=not args.no_ema, allow_unknown=args.allow_unknown
            )
        except WrongWeightsError as error:
            raise ValueError(f'{args.src}: {error}') from None
        write_checkpoint(conversion.checkpoint(), args.dst)
    except (ValueError, OSError) as error:
        print(f'tapadl2mmseg.py: error: {error}', file=sys.stderr)
        return 2
    print(conversion.report())
    print(f'wrote    {args.dst}')
    print(f'use it   {usage_of(conversion.source, args.dst)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
