"""Makes a file to hand out from a training checkpoint: the weights, a few facts, a digest.

    python tools/model_converters/publish.py work_dirs/fan_tapadl_demo/iter_300.pth fan_tapadl.safetensors
    python tools/model_converters/publish.py best_mIoU_iter_300.pth fan_tapadl.pth --metrics work_dirs/x/metrics.json

Optimizer, schedule, logs and averaged copies are left out. The name gets the first 8 digits of the file's
SHA-256 (fan_tapadl-1a2b3c4d.safetensors), which readers of downloads check; the whole digest and the facts
are written beside it (.json).
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils.command_line import add_trust_checkpoint, run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint of a training (.pth)')
    parser.add_argument('target', help='file to write, .safetensors or .pth; its name gets the digest')
    parser.add_argument(
        '--metrics', metavar='JSON', help='metrics.json of tools/test.py, to be stored with the weights'
    )
    parser.add_argument(
        '--notes', help='a text to be stored with the weights, e.g. the licence they are under'
    )
    add_trust_checkpoint(parser)
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Publishes."""
    from mmseg_tapadl.checkpoints.publishing import publish

    print(
        publish(
            args.checkpoint, args.target, metrics=args.metrics, notes=args.notes, trust=args.trust_checkpoint
        )
    )


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
