"""Measures the product beside its textbook twins and says which targets hold.

    python benchmarks/run.py                        # all, about twelve minutes on two quiet cores
    python benchmarks/run.py --only attention       # one
    python benchmarks/run.py --device cuda          # on a GPU
    python benchmarks/run.py --json figures.json    # the figures as a file, too

All of it together also writes benchmarks/results/<machine>.json, and RESULTS.md (a column for each machine) and growth.png
from it. Times are medians of several runs,
ours and the twin by turns in one process; peak memory is that of a fresh process. Run it on a quiet machine.
"""

import argparse
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cases import NAMES
from mmseg_tapadl.utils.process import settle_process


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--only', choices=NAMES, action='append', help='a benchmark; may be repeated')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--threads', type=int, default=2, help='threads of torch (default: 2)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures to this file')
    parser.add_argument(
        '--results',
        type=Path,
        metavar='FOLDER',
        help='write results/, RESULTS.md and growth.png here, also with --only',
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    # As the tools do: what is measured is what users run.
    settle_process()
    import importlib
    import warnings

    warnings.filterwarnings('ignore')
    import torch

    from benchmarks.harness import Bench
    from benchmarks.report import machine_facts, print_targets, write_results
    from mmseg_tapadl.utils import write_json

    if args.device == 'cuda' and not torch.cuda.is_available():
        print('run.py: error: --device cuda: torch sees no GPU here', file=sys.stderr)
        return 2
    torch.set_num_threads(args.threads)
    bench = Bench(torch.device(args.device), args.threads)
    folder = args.results or (None if args.only else Path(__file__).parent)
    for name in args.only or NAMES:
        bench.name = name
        print(name, flush=True)
        importlib.import_module(f'benchmarks.cases.{name}').run(bench)
        # After each benchmark, so that stopping a long run loses nothing that was measured.
        if folder:
            write_results(bench, folder)
        if args.json:
            facts = machine_facts(bench)
            write_json(
                args.json,
                dict(machine=facts, figures=bench.figures, targets=bench.targets, growth=bench.growth),
            )
    print_targets(bench)
    if folder:
        print(f'written: {folder / "RESULTS.md"}')
    return 0 if all(target['holds'] for target in bench.targets) else 1


if __name__ == '__main__':
    sys.exit(main())
