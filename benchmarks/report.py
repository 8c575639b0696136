"""The figures as a table on the screen, as RESULTS.md and as a plot of growth."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Bench
from mmseg_tapadl.utils import atomic_write

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
    """Writes RESULTS.md and, where growth was measured, growth.png into a folder."""
    lines = ['# Measured', '', f'Written by `python benchmarks/run.py`, device `{bench.device.type}`.', '']
    if bench.device.type == 'cpu':
        lines += ['Measured on the processor only: no GPU was at hand.', '']
    lines += [f'- {name}: {value}' for name, value in machine_facts(bench).items()]
    lines += ['', '## Targets', '', '| benchmark | target | measured | limit | |', '|---|---|---:|---|---|']
    lines += [
        f'| {t["benchmark"]} | {t["target"]} | {t["measured"]:.3g} | {t["limit"]} | {"holds" if t["holds"] else "**missed**"} |'
        for t in bench.targets
    ]
    lines += ['', '## Figures', '', 'Time: median (least to most, runs).', '']
    lines += ['| benchmark | what | figure |', '|---|---|---|']
    lines += [f'| {f["benchmark"]} | {f["what"]} | {f["text"]} |' for f in bench.figures]
    if bench.growth:
        plot_growth(bench, folder / 'growth.png')
        lines += [
            '',
            '## Growth of a training step',
            '',
            '![time and memory by the number of tokens](growth.png)',
        ]
    with atomic_write(folder / 'RESULTS.md', 'w', encoding='utf-8') as file:
        file.write('\n'.join(lines) + '\n')


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
