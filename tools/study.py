"""Runs a study: variants of one config, several seeds, what is measured, and how sure the differences are.

    python tools/study.py configs/studies/tapadl_demo.py --dry-run       # how many runs, how long, how much disk
    python tools/study.py configs/studies/tapadl_demo.py                 # makes what is not finished
    python tools/study.py configs/studies/tapadl_demo.py --jobs 2 --seeds 0 1 2
    python tools/study.py STUDY --shard 1/4 --work-dir part_1            # a part, on each of four machines
    python tools/study.py STUDY --merge part_1 part_2 part_3 part_4      # puts the parts together and runs nothing

Every run is an ordinary call of train.py and of test.py or test_robustness.py. What is finished is never run again; what
was stopped or killed goes on where it was; what failed is named and tried again by the next call.

Exit status: 0 done, 1 runs failed or an unexpected error, 2 wrong input, 4 the disk will not hold it, 130 stopped by
Ctrl-C, 143 stopped by SIGTERM (the runs save first).
"""

import argparse
import re
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.command_line import run_tool, tool_parser


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('study', help='study file, e.g. configs/studies/tapadl_demo.py')
    parser.add_argument(
        '--jobs', type=int, default=1, metavar='N', help='runs side by side; the cores are shared out'
    )
    parser.add_argument('--only', nargs='+', metavar='VARIANT', help='only these variants')
    parser.add_argument('--seeds', nargs='+', type=int, metavar='SEED', help="in place of the study's")
    parser.add_argument(
        '--shard',
        metavar='I/N',
        help='only the I-th of N parts of the runs, from 1; slurm: as the job array says',
    )
    parser.add_argument(
        '--merge',
        nargs='+',
        metavar='DIR',
        help='put the results of these work dirs into --work-dir and run nothing',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='say how many runs, how long and how much disk'
    )
    parser.add_argument(
        '--work-dir', help='where everything goes (default: work_dirs/studies/<name of the study>)'
    )
    parser.add_argument(
        '--data', metavar='DIR', help="folder of the data set or data.yaml, in place of the study's"
    )
    parser.add_argument(
        '--pretrained', metavar='FILE', help="weights of the encoder, in place of the study's"
    )
    parser.add_argument(
        '--keep-checkpoints',
        choices=['last', 'none'],
        default='last',
        help='of a finished run: its last checkpoint (default) or none',
    )
    args = parser.parse_args()
    if args.shard not in (None, 'slurm') and not re.fullmatch(r'\d+/\d+', args.shard):
        parser.error(f'--shard {args.shard}: must look like 1/4, or be slurm')
    if args.merge and (args.shard or args.only or args.dry_run):
        parser.error('--merge puts results together: it goes with none of --shard, --only and --dry-run')
    return args


def run(args: argparse.Namespace) -> int:
    """Runs the study as asked."""
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.studies.run_study import run_study
    from mmseg_tapadl.studies.shards import shard_of

    return run_study(
        args.study,
        tools=Path(__file__).resolve().parent,
        work_dir=args.work_dir,
        jobs=args.jobs,
        only=args.only,
        seeds=args.seeds,
        shard=shard_of(args.shard),
        dry_run=args.dry_run,
        data=args.data,
        pretrained=args.pretrained,
        keep_checkpoints=args.keep_checkpoints,
        parts=args.merge,
    )


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
