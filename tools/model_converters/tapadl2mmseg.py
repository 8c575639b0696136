"""Converts a public release of FAN (the paper's or NVIDIA's) or RVT into a checkpoint of this toolkit.

    python tools/model_converters/tapadl2mmseg.py tapadl_fan_base_segmentation.pth fan_tapadl.pth
    python tools/test.py configs/fan_tapadl_cityscapes.py fan_tapadl.pth

    python tools/model_converters/tapadl2mmseg.py fan_hybrid_base.pth.tar fan_imagenet.pth
    python tools/train.py configs/fan_tapadl_cityscapes.py --pretrained fan_imagenet.pth

    python tools/model_converters/tapadl2mmseg.py tapadl_rvt_base.pth.tar rvt_imagenet.pth  # prints how it is used

What SRC is, its size, its TAP and, for RVT, its feed-forward network and position-aware scaling are told from names and
shapes. Every key is used, dropped for a stated reason, or unknown, which is an error. Nothing in SRC is run; DST is
written whole or not at all. The licence of the weights stays that of the release: see docs/model_zoo.md.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.command_line import add_trust_checkpoint, run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
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
    add_trust_checkpoint(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.checkpoints.checkpoint_io import read_checkpoint, write_checkpoint
    from mmseg_tapadl.checkpoints.wrapper_names import without_torch_parts
    from mmseg_tapadl.models.released_weights import WrongWeightsError, convert_released
    from mmseg_tapadl.models.released_weights.usage import usage_of

    if Path(args.dst).resolve() == Path(args.src).resolve():
        raise InputError(f'{args.dst}: DST is SRC itself; give another name')
    checkpoint = without_torch_parts(read_checkpoint(args.src, trust=args.trust_checkpoint))
    for key in ('state_dict', 'state_dict_ema'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint[key] = without_torch_parts(checkpoint[key])
    try:
        conversion = convert_released(checkpoint, use_ema=not args.no_ema, allow_unknown=args.allow_unknown)
    except WrongWeightsError as error:
        raise InputError(f'{args.src}: {error}') from None
    write_checkpoint(conversion.checkpoint(), args.dst)
    print(conversion.report())
    print(f'wrote    {args.dst}')
    print(f'use it   {usage_of(conversion.source, args.dst)}')


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
