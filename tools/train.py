"""Trains a segmenter.

    python tools/train.py configs/fan_tapadl_demo.py
    python tools/train.py configs/fan_tapadl_cityscapes.py --pretrained fan_base.pth --amp
    python tools/train.py configs/fan_tapadl_cityscapes.py --init-from trained.pth --freeze encoder-but-tap
    python tools/train.py configs/fan_tapadl_camvid.py --data my.yaml
    python tools/train.py configs/fan_tapadl_cityscapes.py --resume
    python tools/train.py CONFIG --resume --allow-change optim_wrapper.optimizer.lr
    bash tools/dist_train.sh configs/fan_tapadl_cityscapes.py 4

Exit status: 0 done, 1 unexpected error, 2 wrong input, 3 loss not finite, 4 disk full, 130 stopped by
Ctrl-C, 143 stopped by SIGTERM (both save first; see docs/reliability.md).
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import (
    add_cfg_options,
    add_data,
    add_launcher,
    add_trust_checkpoint,
    run_tool,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    add_data(parser, 'what to train and validate on')
    parser.add_argument('--work-dir', help='where checkpoints and logs go (default: work_dirs/<config name>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on: from CKPT, or from the newest whole checkpoint of the work dir (none: starts fresh)',
    )
    parser.add_argument(
        '--allow-change',
        nargs='+',
        metavar='KEY',
        help='with --resume: settings that may differ from those of the saved run, e.g. optim_wrapper.optimizer.lr, '
        'train_dataloader.dataset.data_root, or optim_wrapper for all below it; the new values then act',
    )
    parser.add_argument(
        '--pretrained', metavar='FILE', help="weights of the encoder to start from, e.g. ImageNet's"
    )
    parser.add_argument(
        '--init-from',
        metavar='FILE',
        help="a whole segmenter's weights to start from: what fits is taken, classes that agree by name keep their rows",
    )
    parser.add_argument(
        '--freeze',
        metavar='WHAT',
        help='what does not train: encoder (all of it), encoder-but-tap, stem, or N: the stem and the first N blocks',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on the CPU'
    )
    parser.add_argument('--seed', type=int, metavar='N', help="the run's seed (default: the config's)")
    add_cfg_options(parser)
    add_launcher(parser)
    parser.add_argument(
        '--skip-check', action='store_true', help='do not check the data set before the first iteration'
    )
    parser.add_argument('--overwrite', action='store_true', help='remove the run that lies in the work dir')
    add_trust_checkpoint(parser, 'the files of --resume, --pretrained, --init-from and load_from')
    args = parser.parse_args()
    if args.resume and args.overwrite:
        parser.error('--resume and --overwrite exclude each other')
    if args.allow_change and not args.resume:
        parser.error('--allow-change only has a meaning with --resume')
    return args


def run(args: argparse.Namespace) -> None:
    """Trains as asked."""
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.engine.training import train

    train(
        config=args.config,
        data=args.data,
        work_dir=args.work_dir,
        resume=args.resume,
        allow_change=args.allow_change,
        pretrained=args.pretrained,
        init_from=args.init_from,
        freeze=args.freeze,
        amp=args.amp,
        seed=args.seed,
        cfg_options=args.cfg_options,
        launcher=args.launcher,
        check_data=None if args.skip_check else check_data,
        overwrite=args.overwrite,
        trust=args.trust_checkpoint,
    )


def check_data(cfg, splits: list[str]) -> None:
    """Looks for faults in the data set."""
    from mmseg_tapadl.datasets.integrity import check_config

    check_config(cfg, splits)


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
