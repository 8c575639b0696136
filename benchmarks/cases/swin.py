"""A training step of Swin-T with TAP at 512 x 512, with ADL on every layer and without: windows as batch entries."""

from functools import partial

from benchmarks.harness import Bench, Workload
from benchmarks.models import TrainingStep

SIDE = 512
CONFIGS = {'with_adl': 'swin_tapadl_camvid', 'without_adl': 'swin_tap_camvid'}

WORKLOADS = {
    form: Workload(partial(TrainingStep, config, SIDE), counts_setup=True, runs=2)
    for form, config in CONFIGS.items()
}


def run(bench: Bench) -> None:
    """Records times and memory."""
    times = bench.time_by_turns(WORKLOADS, rounds=5)
    ratio = times['with_adl'].median / times['without_adl'].median
    bench.at_most('time of a step of Swin-T at 512, over the same without ADL', ratio, 1.5)
    for form in WORKLOADS:
        bench.peak(form)
