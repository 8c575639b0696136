"""A whole training step of FAN-B-Hybrid + TAP + ADL: beside the same without ADL, and beside the twins."""

from functools import partial

import torch

from benchmarks.harness import Bench, Workload
from benchmarks.models import TrainingStep

TAPADL, TAP = 'fan_tapadl_cityscapes', 'fan_tap_cityscapes'


def step(config: str, side: int, **options) -> Workload:
    """A step as a workload; with AdamW's moments it is whole from the second run on."""
    return Workload(partial(TrainingStep, config, side, **options), counts_setup=True, runs=2)


WORKLOADS = {
    'ours_1024': step(TAPADL, 1024),
    'ours_without_adl_1024': step(TAP, 1024),
    'ours_with_cp_1024': step(TAPADL, 1024, with_cp=True),
    'ours_512': step(TAPADL, 512),
    'twin_512': step(TAPADL, 512, twin=True),
}

# For a GPU: batch 1, 2 and 4, float32 and bfloat16.
CUDA_FORMS = {
    'ours': dict(config=TAPADL),
    'ours_without_adl': dict(config=TAP),
    'twin': dict(config=TAPADL, twin=True),
}
CUDA_WORKLOADS = {
    f'{form}_{precision}_batch{batch}': step(side=1024, batch=batch, amp=amp, **options)
    for form, options in CUDA_FORMS.items()
    for batch in (1, 2, 4)
    for precision, amp in (('float32', None), ('bfloat16', torch.bfloat16))
}
WORKLOADS |= CUDA_WORKLOADS


def run(bench: Bench) -> None:
    """Records times and memory; on a GPU also by batch size and precision."""
    if bench.device.type == 'cuda':
        run_cuda(bench)
    pair = ('ours_1024', 'ours_without_adl_1024')
    times = bench.time_by_turns({name: WORKLOADS[name] for name in pair}, rounds=3)
    ratio = times['ours_1024'].median / times['ours_without_adl_1024'].median
    bench.at_most('time of a step at 1024, over the same without ADL', ratio, 1.2)
    bench.at_most('GB of a step at 1024', bench.peak('ours_1024').bytes / 1e9, 6)
    bench.at_most('GB of a step at 1024 with_cp', bench.peak('ours_with_cp_1024').bytes / 1e9, 4.5)

    pair = ('ours_512', 'twin_512')
    times = bench.time_by_turns({name: WORKLOADS[name] for name in pair}, rounds=3)
    ratio = times['twin_512'].median / times['ours_512'].median
    bench.at_least('times faster at 512 than assembled from the twins', ratio, 2.5)
    for name in pair:
        bench.peak(name)


def run_cuda(bench: Bench) -> None:
    """Batch 1, 2 and 4 in both precisions: time against no ADL and the twin, and the largest batch of each."""
    for precision in ('float32', 'bfloat16'):
        for batch in (1, 2, 4):
            names = [f'{form}_{precision}_batch{batch}' for form in CUDA_FORMS]
            times = bench.time_by_turns({n: WORKLOADS[n] for n in names}, rounds=5)
            ours, without, _ = (times[n].median for n in names)
            bench.at_most(
                f'time in {precision} at batch {batch}, over the same without ADL', ours / without, 1.25
            )
            peaks = [bench.peak(n).bytes for n in names]
        # Memory grows with the batch from a constant; the twin's share at batch 4 bounds how much more fits.
        bench.at_least(f'batches as large as the twin fits, {precision}', peaks[2] / peaks[0], 3)
