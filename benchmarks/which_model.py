"""Measures every arch and writes docs/which_model.json and the tables of docs/which_model.md and model_zoo.md.

python benchmarks/which_model.py                    # all archs at 512 and 1024, two threads: some minutes
python benchmarks/which_model.py --repeats 0        # parameters and operations only, times stay empty
python benchmarks/which_model.py --tables-only      # nothing measured: tables again from the data files
"""

import argparse
import json
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # works from a checkout without installing

SIZES = (512, 1024)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--repeats', type=int, default=3, help='timed runs; 0 measures nothing (default: 3)')
    parser.add_argument('--threads', type=int, default=2, help='threads on the CPU (default: 2)')
    parser.add_argument('--device', default='cpu', help='cpu, cuda:0, ... (default: cpu)')
    parser.add_argument(
        '--tables-only', action='store_true', help='only write the tables from the data files'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from benchmarks.page_tables import PAGES, with_tables
    from mmseg_tapadl.utils import atomic_write, write_json

    if not args.tables_only:
        write_json(ROOT / 'docs' / 'which_model.json', measure_all(args.repeats, args.threads, args.device))
    for name, tables in PAGES.items():
        page = ROOT / 'docs' / f'{name}.md'
        data = json.loads((ROOT / 'docs' / f'{name}.json').read_text(encoding='utf-8'))
        text = with_tables(page.read_text(encoding='utf-8'), tables(data))
        with atomic_write(page, 'w', encoding='utf-8') as file:
            file.write(text)
        print(f'wrote {page}')
    return 0


def measure_all(repeats: int, threads: int, device: str) -> dict:
    """The content of docs/which_model.json."""
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    import torch
    from tqdm import tqdm

    from benchmarks.model_list import config_of, every_model
    from mmseg_tapadl.analysis.complexity import complexity_of

    torch.set_num_threads(threads)
    models = []
    for model in tqdm(every_model(), desc='models'):
        cfg = config_of(model, ROOT / 'configs')
        results = [complexity_of(cfg, size, size, repeats=repeats, device=device) for size in SIZES]
        models.append(
            dict(
                model=model,
                parameters=sum(results[0].parameters.values()),
                macs=[sum(result.macs.values()) for result in results],
                seconds=[result.seconds for result in results],
            )
        )
    where = f'{threads} threads of {cpu_name()}' if device == 'cpu' else torch.cuda.get_device_name(device)
    return dict(machine=f'{where}, torch {torch.__version__}, float32', sizes=SIZES, models=models)


def cpu_name() -> str:
    """The processor's name."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.split(':', 1)[1].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == '__main__':
    sys.exit(main())
