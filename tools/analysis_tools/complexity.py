"""Parameters, operations and measured speed of a config's model.

    python tools/analysis_tools/complexity.py configs/fan_tapadl_cityscapes.py
    python tools/analysis_tools/complexity.py configs/segformer_tapadl_cityscapes.py --size 512 --size 1024x2048
    python tools/analysis_tools/complexity.py configs/fan_cityscapes.py --cfg-options model.backbone.arch=base_hybrid
    python tools/analysis_tools/complexity.py configs/fan_tapadl_demo.py --repeats 0 --out complexity.json

Operations are multiply-adds of matrix products, convolutions and attention. Speed is one picture at a time,
encoder and decode head, the best of the runs. docs/which_model.md has these figures for every arch.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils.command_line import add_cfg_options, run_tool, tool_parser


def picture_size(text: str) -> tuple[int, int]:
    """``'512'`` or ``'1024x2048'`` as height and width."""
    try:
        sides = [int(side) for side in text.lower().split('x')]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no size: give a side or HEIGHTxWIDTH, e.g. 1024x2048")
    return sides[0], sides[-1]


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file of the model')
    parser.add_argument(
        '--size',
        type=picture_size,
        action='append',
        metavar='SIDE|HEIGHTxWIDTH',
        help='picture size, may be given more than once (default: 512 and 1024)',
    )
    parser.add_argument('--repeats', type=int, default=3, help='timed runs; 0 measures nothing (default: 3)')
    parser.add_argument('--threads', type=int, help="threads on the CPU (default: torch's own choice)")
    parser.add_argument('--device', default='cpu', help='cpu, cuda:0, ... (default: cpu)')
    parser.add_argument('--out', metavar='FILE', help='write the figures to this JSON file')
    add_cfg_options(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    import torch

    from mmseg_tapadl.analysis.complexity import complexity_of
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.utils import write_json

    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    rows = [
        complexity_of(cfg, height, width, repeats=args.repeats, device=args.device)
        for height, width in args.size or [(512, 512), (1024, 1024)]
    ]
    if args.out:
        write_json(args.out, [row.as_dict() for row in rows])
    where = f'{args.device}, {torch.get_num_threads()} threads' if args.device == 'cpu' else args.device
    print(f'{"":28}{"encoder":>10}{"head":>10}{"together":>10}')
    print_row('parameters, millions', [n / 1e6 for n in rows[0].parameters.values()])
    for row in rows:
        print_row(f'{row.height} x {row.width}: multiply-adds, G', [n / 1e9 for n in row.macs.values()])
    for row in rows:
        if row.seconds is not None:
            print(f'{row.height} x {row.width}: {row.seconds:.3f} s a picture ({where})')


def print_row(name: str, values: list[float]) -> None:
    """One aligned line with a sum at its end."""
    print(f'{name:28}' + ''.join(f'{value:10.2f}' for value in [*values, sum(values)]))


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
