"""Load and abuse, as figures: this toolkit beside plain mmengine and mmseg, from the same run.

python benchmarks/abuse.py                   # all; writes benchmarks/abuse.json and docs/reliability.md
python benchmarks/abuse.py --quick           # a tenth of each, prints only
python benchmarks/abuse.py --only kills      # one case; replaces its row
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Works from a checkout without installing.
sys.path.insert(0, str(ROOT))

from benchmarks.abuse_cases import CASES  # noqa: E402

_BEGIN, _END = '<!-- abuse: begin -->', '<!-- abuse: end -->'


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--only', choices=CASES, action='append', help='a case; may be repeated')
    parser.add_argument('--quick', action='store_true', help='a tenth of each case')
    parser.add_argument('--side', choices=('ours', 'plain'), help=argparse.SUPPRESS)
    return parser.parse_args()


def one_side(case: str, ours: bool, quick: bool) -> dict:
    """Runs a case in a process of its own: plain mmengine must not see our readers."""
    command = [
        sys.executable,
        __file__,
        '--only',
        case,
        '--side',
        'ours' if ours else 'plain',
        *(['--quick'] if quick else []),
    ]
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)
    if done.returncode:
        raise SystemExit(
            f'abuse: error: {case} ({"ours" if ours else "plain"}) ended with status {done.returncode}'
        )
    return json.loads(done.stdout.splitlines()[-1])


def table(figures: dict[str, dict[str, dict]]) -> str:
    """The figures as a Markdown table."""
    rows = []
    for case, sides in figures.items():
        ours, plain = sides['ours'], sides['plain']
        if case == 'kills':
            rows.append(
                (
                    'kill -9 while checkpoints are written: a whole one found',
                    *(f'{s["survived"]} of {s["tried"]}' for s in (ours, plain)),
                )
            )
        elif case == 'hostile':
            label = f'{ours["constructions"]} hostile files through {len(ours["entries"])} entries (plain: {len(plain["entries"])}): refused, nothing run'
            rows.append((label, *(f'{s["harmless"]} of {s["tried"]}' for s in (ours, plain))))
        elif case == 'bits':
            rows.append(
                (
                    'flipped bits in a checkpoint: noticed',
                    *(f'{s["noticed"]} of {s["flipped"]}' for s in (ours, plain)),
                )
            )
            rows.append(
                (
                    '... read without a word, with another weight',
                    *(f'{s["other_weights"]} of {s["flipped"]}' for s in (ours, plain)),
                )
            )
        elif case == 'data':
            label = f'{ours["kinds"]} kinds of data faults in train and val: found before iteration 1, with the path'
            rows.append((label, *(f'{s["before"]} of {s["planted"]}' for s in (ours, plain))))
            rows.append(('... never found', *(f'{s["silent"]} of {s["planted"]}' for s in (ours, plain))))
        elif case == 'memory':
            label = f'memory growth from picture {ours["pictures"] // 10} to {ours["pictures"]} of a test'
            rows.append((label, *(f'{s["growth_mb"]} MB (of {s["late_mb"]})' for s in (ours, plain))))
    lines = [
        '| | this toolkit | plain mmengine and mmseg |',
        '|---|---|---|',
        *(f'| {" | ".join(row)} |' for row in rows),
    ]
    return '\n'.join(lines)


def main() -> int:
    """Runs what is asked for."""
    args = parse_args()
    if args.side:
        import importlib

        # What libraries print must not end up in the figures.
        out = os.dup(1)
        os.dup2(2, 1)
        result = importlib.import_module(f'benchmarks.abuse_cases.{args.only[0]}').run(
            args.side == 'ours', args.quick
        )
        os.write(out, f'{json.dumps(result)}\n'.encode())
        return 0
    figures = {}
    for case in args.only or CASES:
        print(case, flush=True)
        figures[case] = {side: one_side(case, side == 'ours', args.quick) for side in ('ours', 'plain')}
    file = ROOT / 'benchmarks/abuse.json'
    if args.only and not args.quick and file.exists():
        figures = json.loads(file.read_text()) | figures
    print(table(figures))
    if not args.quick:
        from mmseg_tapadl.utils import atomic_write, write_json

        write_json(file, figures)
        page = ROOT / 'docs/reliability.md'
        before, _, rest = page.read_text().partition(_BEGIN)
        after = rest.partition(_END)[2]
        with atomic_write(page, 'w') as out:
            out.write(f'{before}{_BEGIN}\n{table(figures)}\n{_END}{after}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
