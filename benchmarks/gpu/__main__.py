"""Accuracy of the layers against float64, then their time and peak memory, as one JSON; see benchmarks/gpu.sh."""

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from pathlib import Path

from mmseg_tapadl.utils import InputError, write_json
from mmseg_tapadl.version import __version__

MINUTES = 8.0
"""After these nothing new begins; what was left out is named in the JSON."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='gpu.sh', description=__doc__)
    parser.add_argument(
        'file', nargs='?', type=Path, help='write the JSON here instead of to the standard output'
    )
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    parser.add_argument(
        '--quick', action='store_true', help='small shapes and few runs: a check that it runs'
    )
    return parser.parse_args()


def measure(device_name: str, quick: bool) -> dict:
    """Everything that was found out.

    Raises:
        InputError: No such device, torch or timm is missing, or ``TAPADL_BUDGET`` is wrong.
    """
    try:
        import timm
        import torch
    except ModuleNotFoundError as error:
        raise InputError(
            f'{error} for {sys.executable}: set PYTHON to one that has torch and timm'
        ) from error

    from benchmarks.gpu.accuracy import check_accuracy
    from benchmarks.gpu.cost import measure_cost
    from mmseg_tapadl.layers.budget import budget_for

    if device_name == 'cuda' and not torch.cuda.is_available():
        raise InputError('torch sees no GPU here; --device cpu --quick runs it on the processor')
    device = torch.device(device_name)
    budget = dataclasses.asdict(budget_for(device))
    end = time.monotonic() + 60 * MINUTES
    skipped: list[str] = []
    return {
        'device': device.type,
        'quick': quick,
        'machine': machine_facts(torch, timm, device),
        'budget': budget,
        'accuracy': check_accuracy(device, quick=quick, end=end, skipped=skipped),
        'cost': measure_cost(device, quick=quick, end=end, skipped=skipped),
        'skipped_for_time': skipped,
    }


def machine_facts(torch, timm, device) -> dict:
    """Versions, and the device by its name."""
    facts = {
        'mmseg_tapadl': __version__,
        'torch': torch.__version__,
        'timm': timm.__version__,
        'python': platform.python_version(),
        'vector_units': torch.backends.cpu.get_cpu_capability(),
        'threads': torch.get_num_threads(),
        'cores': os.cpu_count(),
    }
    if device.type == 'cuda':
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            'gpu': properties.name,
            'gpu_bytes': properties.total_memory,
            'compute_capability': f'{properties.major}.{properties.minor}',
            'cuda': torch.version.cuda,
            'cudnn': torch.backends.cudnn.version(),
        }
    return facts


def main() -> int:
    args = parse_args()
    try:
        if args.file is not None and args.file.exists():
            raise InputError(f'{args.file} exists and is not overwritten: name another file')
        results = measure(args.device, args.quick)
    except InputError as error:
        print(f'gpu.sh: error: {error}', file=sys.stderr)
        return 2
    if args.file is None:
        print(json.dumps(results, indent=2, allow_nan=False))
    else:
        write_json(args.file, results)
    return 0 if all(row['holds'] for row in results['accuracy']) else 1


if __name__ == '__main__':
    sys.exit(main())
