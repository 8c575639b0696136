"""The figures as a table on the screen, as RESULTS.md and as a plot of growth."""

import json
import os
import platform
import re
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cases import NAMES
from benchmarks.harness import Bench
from mmseg_tapadl.utils import atomic_write, write_json

PACKAGES = ('torch', 'timm', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation', 'numpy')


def machine_facts(bench: Bench) -> dict[str, str]:
    """The machine and the versions behind the figures."""
    processor = platform.processor()
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        names = [
            line.split(':')[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith('model name')
        ]
        processor = names[0] if names else processor
    facts = {
        'date': datetime.now(UTC).strftime('%Y-%m-%d'),
        'processor': f'{processor}, {os.cpu_count()} cores, {bench.threads} threads used',
        'vector units': torch.backends.cpu.get_cpu_capability(),
        'memory': f'{os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30:.0f} GiB',
        'load average at the end': ', '.join(f'{value:.1f}' for value in os.getloadavg()),
        'Python': platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
    if bench.device.type == 'cuda':
        facts['GPU'] = torch.cuda.get_device_name()
    return facts


def print_targets(bench: Bench) -> None:
    """The table at the end."""
    table = Table(title='Targets')
    for column in ('benchmark', 'target', 'measured', 'limit', ''):
        table.add_column(column, justify='right' if column == 'measured' else 'left')
    for t in bench.targets:
        table.add_row(
            t['benchmark'],
            t['target'],
            f'{t["measured"]:.3g}',
            t['limit'],
            'holds' if t['holds'] else 'MISSED',
        )
    Console().print(table)


def write_results(bench: Bench, folder: Path) -> None:
    """Writes this machine's figures into ``results/`` and, from those of all machines, RESULTS.md and growth.png.

    What an earlier run on this machine measured of other benchmarks stays.
    """
    file = folder / 'results' / f'{machine_name(bench)}.json'
    kept = json.loads(file.read_text(encoding='utf-8')) if file.exists() else {}
    measured = {entry['benchmark'] for entry in [*bench.figures, *bench.targets]}

    def merged(key: str, now: list[dict]) -> list[dict]:
        return [entry for entry in kept.get(key, []) if entry['benchmark'] not in measured] + now

    write_json(
        file,
        {
            'machine': machine_facts(bench),
            'device': bench.device.type,
            'figures': merged('figures', bench.figures),
            'targets': merged('targets', bench.targets),
            'growth': bench.growth or kept.get('growth', []),
        },
    )
    write_page(folder)
    if bench.growth:
        plot_growth(bench, folder / 'growth.png')


def machine_name(bench: Bench) -> str:
    """A file name for a processor (or GPU) with its vector units and threads: its column in RESULTS.md."""
    facts = machine_facts(bench)
    words = facts.get('GPU') or f'{facts["processor"].replace(" used", "")} {facts["vector units"]}'
    return re.sub(r'[^a-z0-9]+', '-', re.sub(r'\(\w+\)', '', words).lower()).strip('-')


def write_page(folder: Path) -> None:
    """RESULTS.md out of the files in ``results/``: a column for each machine."""
    machines = {
        path.stem: json.loads(path.read_text(encoding='utf-8'))
        for path in sorted((folder / 'results').glob('*.json'))
    }
    lines = [
        '# Measured',
        '',
        'Written by `python benchmarks/run.py`; a column for each machine it was run on.',
        '',
    ]
    if all(machine['device'] == 'cpu' for machine in machines.values()):
        lines += ['Measured on processors only: no GPU was at hand.', '']
    letters = dict(zip(machines, 'ABCDEFGH', strict=False))
    facts = list(dict.fromkeys(fact for machine in machines.values() for fact in machine['machine']))
    lines += ['| | ' + ' | '.join(letters.values()) + ' |', '|---|' + '---|' * len(letters)]
    lines += [
        f'| {fact} | ' + ' | '.join(str(m['machine'].get(fact, '')) for m in machines.values()) + ' |'
        for fact in facts
    ]
    lines += ['', '## Targets', '', '| benchmark | target | limit | ' + ' | '.join(letters.values()) + ' |']
    lines += ['|---|---|---|' + '---:|' * len(letters)]
    lines += _rows(machines, 'targets', ('benchmark', 'target', 'limit'), _verdict)
    lines += ['', '## Figures', '', 'Time: median (least to most, runs).', '']
    lines += [
        '| benchmark | what | ' + ' | '.join(letters.values()) + ' |',
        '|---|---|' + '---|' * len(letters),
    ]
    lines += _rows(machines, 'figures', ('benchmark', 'what'), lambda figure: figure['text'])
    if (folder / 'growth.png').exists():
        lines += [
            '',
            '## Growth of a training step',
            '',
            '![time and memory by the number of tokens](growth.png)',
        ]
    with atomic_write(folder / 'RESULTS.md', 'w', encoding='utf-8') as file:
        file.write('\n'.join(lines) + '\n')


def _verdict(target: dict) -> str:
    return f'{target["measured"]:.3g}' if target['holds'] else f'**{target["measured"]:.3g} missed**'


def _rows(
    machines: dict[str, dict], part: str, keys: tuple[str, ...], text: Callable[[dict], str]
) -> list[str]:
    """A table's rows: what was measured anywhere, in the order of the benchmarks, and each machine's figure of it."""
    entries = [entry for machine in machines.values() for entry in machine[part]]
    order = {name: position for position, name in enumerate(NAMES)}
    entries.sort(key=lambda entry: order.get(entry['benchmark'], len(order)))
    rows = []
    for named in dict.fromkeys(tuple(str(entry[key]) for key in keys) for entry in entries):
        cells = [
            next((text(e) for e in machine[part] if tuple(str(e[key]) for key in keys) == named), '')
            for machine in machines.values()
        ]
        rows.append('| ' + ' | '.join([*named, *cells]) + ' |')
    return rows


def plot_growth(bench: Bench, path: Path) -> None:
    """Time and memory by the number of tokens, both axes logarithmic, with a line of exponent 1 to compare."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    tokens = [point['tokens'] for point in bench.growth]
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout='constrained')
    for panel, key, unit, label in zip(
        panels, ('bytes', 'seconds'), (1e9, 1), ('peak memory [GB]', 'time of a step [s]'), strict=True
    ):
        values = [point[key] / unit for point in bench.growth]
        panel.loglog(tokens, values, 'o-', label='FAN-B-Hybrid + TAP + ADL')
        panel.loglog(
            tokens, [values[-1] * n / tokens[-1] for n in tokens], ':', color='gray', label='exponent 1'
        )
        panel.set_xticks(
            tokens, [f'{n}\n({point["side"]})' for n, point in zip(tokens, bench.growth, strict=True)]
        )
        panel.minorticks_off()
        panel.set_xlabel('tokens (side of the picture)')
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
        panel.legend()
    with atomic_write(path) as file:
        figure.savefig(file, dpi=120, format='png')
    plt.close(figure)
