"""Where a training step's time goes, operation by operation, as torch's profiler sees it."""

from functools import partial

from torch.profiler import ProfilerActivity, profile

from benchmarks.cases.training_step import TAPADL
from benchmarks.harness import Bench, Workload
from benchmarks.models import TrainingStep

SIDE = 1024
WORKLOADS = {'step': Workload(partial(TrainingStep, TAPADL, SIDE), counts_setup=True)}

# The beginnings of torch's names for them; the first group that fits takes the operation.
GROUPS = {
    'matrix products': ('aten::mm', 'aten::addmm', 'aten::bmm', 'aten::baddbmm', 'aten::addmv'),
    'convolutions': ('aten::mkldnn_convolution', 'aten::cudnn_convolution', 'aten::convolution_backward'),
    'softmax': ('aten::_softmax',),
    'norms': ('aten::native_batch_norm', 'aten::native_layer_norm', 'aten::cudnn_batch_norm'),
    'GELU': ('aten::gelu',),
    'copies': ('aten::copy_', 'aten::cat', 'aten::fill_'),
    'optimizer': ('aten::_fused_adamw_', 'Optimizer'),
    'the rest: sums, scales, loss, accuracy': ('',),
}


def run(bench: Bench) -> None:
    """Records the share of each group of operations in one step of FAN-B-Hybrid + TAP + ADL at 1024 x 1024."""
    step = WORKLOADS['step'].build(bench.device)
    step()
    on_gpu = bench.device.type == 'cuda'
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as recorded:
        step()
    seconds = dict.fromkeys(GROUPS, 0.0)
    for event in recorded.key_averages():
        group = next(name for name, starts in GROUPS.items() if event.key.startswith(starts))
        seconds[group] += (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6
    total = sum(seconds.values())
    for group, value in sorted(seconds.items(), key=lambda item: -item[1]):
        bench.note(f'{group}', f'{100 * value / total:.1f} % ({value:.2f} s)', seconds=value)
    bench.note('one step, profiled', f'{total:.2f} s', seconds=total)
