#!/usr/bin/env python
"""A local page: choose a picture and a corruption, click a point, see where one model or two look.

Examples:
  python tools/explore.py CONFIG CHECKPOINT street.jpg pictures/
  python tools/explore.py CONFIG CHECKPOINT          (pictures are dropped onto the page)
  python tools/explore.py pictures/ --compare base.py:base.pth tapadl.py:tapadl.pth
  make explore                                       (the demo's model)

Needs pip install "mmseg_tapadl[explore]". Listens on 127.0.0.1 alone unless --host names another address; loads nothing
from elsewhere, and keeps no picture. Ctrl-C ends it.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import (
    add_cfg_options,
    add_models_and_pictures,
    add_trust_checkpoint,
    run_tool,
    split_models,
    tool_parser,
)

MOST_MODELS = 2


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add_models_and_pictures(parser, bound='; two at most')
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to listen on (default: this machine alone)'
    )
    parser.add_argument('--port', type=int, default=8080, help='(default: 8080)')
    parser.add_argument('--show', action='store_true', help='open a browser')
    parser.add_argument('--device', help='cpu, cuda:0, ... (default: a GPU where there is one)')
    add_cfg_options(parser)
    add_trust_checkpoint(parser, 'the checkpoints')
    args = parser.parse_intermixed_args()
    split_models(parser, args)
    if len(args.models) > MOST_MODELS:
        parser.error(f'{len(args.models)} models are given; {MOST_MODELS} at most can be shown')
    return args


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.explore.listening import check_nicegui, check_port

    check_nicegui()
    check_port(args.host, args.port)
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.analysis.analysed_model import AnalysedModel
    from mmseg_tapadl.analysis.attention_report import distinct_names
    from mmseg_tapadl.checkpoints.checkpoint_loader import trust_checkpoint
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.explore.page import serve
    from mmseg_tapadl.inference.sources import find_pictures

    paths = [str(path) for image in args.images for path in find_pictures(image)[1]]
    names = distinct_names([Path(config).stem for config, _ in args.models])
    models = []
    for (config, checkpoint), name in zip(args.models, names, strict=True):
        if args.trust_checkpoint:
            trust_checkpoint(checkpoint)
        models.append(
            AnalysedModel(load_config(config, args.cfg_options), checkpoint, name=name, device=args.device)
        )
    serve(
        models,
        list(dict.fromkeys(paths)),
        host=args.host,
        port=args.port,
        show=args.show,
        say=lambda text: print(text, flush=True),
    )


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
