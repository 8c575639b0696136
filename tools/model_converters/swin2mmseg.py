"""Writes a Swin encoder under mmseg's names, from weights under timm's or the original release's.

    python tools/model_converters/swin2mmseg.py swin_tiny_patch4_window7_224.pth swin_tiny.pth
    python tools/train.py configs/swin_tapadl_cityscapes.py --pretrained swin_tiny.pth

--pretrained converts such files itself; a converted one also serves mmseg's own SwinTransformer. The classifier is left
out; every other key must fit, or nothing is written. Sizes are read from the keys, printed and kept in the file.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.command_line import add_trust_checkpoint, run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('src', metavar='SRC', help="file of Swin's weights (.pth, .safetensors)")
    parser.add_argument('dst', metavar='DST', help='where the checkpoint goes (.pth or .safetensors)')
    add_trust_checkpoint(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Converts."""
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.checkpoints.checkpoint_io import read_checkpoint, write_checkpoint
    from mmseg_tapadl.checkpoints.wrapper_names import weights_of
    from mmseg_tapadl.models.released_weights.swin import convert_swin

    if Path(args.dst).resolve() == Path(args.src).resolve():
        raise InputError(f'{args.dst}: DST is SRC itself; give another name')
    weights = weights_of(read_checkpoint(args.src, trust=args.trust_checkpoint))
    try:
        encoder, sizes = convert_swin(weights)
    except InputError as error:
        raise InputError(f'{args.src}: {error}') from None
    write_checkpoint({'state_dict': encoder, 'meta': {'converted_from': args.src, 'arch': sizes}}, args.dst)
    described = ', '.join(f'{name}={value}' for name, value in sizes.items())
    print(f'found    Swin with {described}')
    print(
        f'wrote    {args.dst}: {len(encoder)} of {len(weights)} keys; the others are the classifier or follow from sizes'
    )
    print(f'use it   python tools/train.py configs/swin_tapadl_cityscapes.py --pretrained {args.dst}')


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
