"""Measures the peak memory of one workload in this process, which does nothing else; prints it as JSON.

python benchmarks/memory_probe.py attention ours_4096
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils.process import settle_process


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('case', help='name of a benchmark')
    parser.add_argument('workload', help='name of one of its workloads')
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--threads', type=int, default=2)
    return parser.parse_args()


def resident(line: str) -> int:
    """Bytes of this process's memory by /proc/self/status: VmRSS is now, VmHWM the most so far."""
    for entry in Path('/proc/self/status').read_text().splitlines():
        if entry.startswith(line):
            return int(entry.split()[1]) * 1024
    raise RuntimeError(f'/proc/self/status has no {line}')


class PeakMeter:
    """The most memory in use between two moments."""

    def __init__(self, device):
        import torch

        self.cuda = torch.cuda if device.type == 'cuda' else None
        if self.cuda:
            self.cuda.reset_peak_memory_stats()
            self.start = self.cuda.memory_allocated()
        else:
            Path('/proc/self/clear_refs').write_text('5')  # VmHWM starts again from now
            self.start = resident('VmRSS')

    def growth(self) -> int:
        """Bytes between the start and the highest point since."""
        highest = self.cuda.max_memory_allocated() if self.cuda else resident('VmHWM')
        return highest - self.start


def load_kernels(device) -> None:
    """Uses the libraries behind matrix products and convolutions once, so that their own memory is not counted."""
    import torch

    x = torch.randn(2, 16, 32, 32, device=device, requires_grad=True)
    conv = torch.nn.Conv2d(16, 16, 3, padding=1).to(device)
    y = torch.nn.functional.batch_norm(conv(x), None, None, training=True).flatten(2)
    (torch.softmax(y @ y.transpose(1, 2), -1) @ y).sum().backward()


def main() -> None:
    args = parse_args()
    # As the tools do: what is measured is what users run.
    settle_process()
    import torch

    from benchmarks.harness import timed

    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    workload = importlib.import_module(f'benchmarks.cases.{args.case}').WORKLOADS[args.workload]
    load_kernels(device)
    torch.manual_seed(0)
    meter = PeakMeter(device)
    run = workload.build(device)
    if not workload.counts_setup:
        meter = PeakMeter(device)
    seconds = [timed(run, device) for _ in range(workload.runs)]
    result = {
        'bytes': meter.growth(),
        'seconds': seconds[1:] or seconds,
        'facts': getattr(run, 'facts', {}),
    }
    print(json.dumps(result))


if __name__ == '__main__':
    main()
