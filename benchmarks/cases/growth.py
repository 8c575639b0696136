"""How time and memory of a training step grow with the picture, each size in a fresh process."""

import math
from statistics import median

from benchmarks.cases.training_step import TAPADL, step
from benchmarks.harness import Bench

SIDES = (256, 384, 512, 768, 1024)
WORKLOADS = {f'side_{side}': step(TAPADL, side) for side in SIDES}
# The same workload as a case measured before: its peak is taken from there.
SAME_AS = {1024: ('training_step', 'ours_1024'), 512: ('training_step', 'ours_512')}


def run(bench: Bench) -> None:
    """Records the points of the curves and the exponents of straight lines through them, in logarithms."""
    for side in SIDES:
        case, name = SAME_AS.get(side, ('growth', f'side_{side}'))
        peak = bench.peak(name, case)
        tokens = (side // 16) ** 2
        bench.growth.append(
            {'side': side, 'tokens': tokens, 'bytes': peak.bytes, 'seconds': median(peak.seconds)}
        )
        bench.note(f'side {side}, {tokens} tokens', f'{median(peak.seconds):.2f} s, {peak}')
    memory, seconds = (slope(bench.growth, key) for key in ('bytes', 'seconds'))
    bench.at_most('exponent of memory in the number of tokens', memory, 1.1)
    bench.note('exponent of time in the number of tokens', f'{seconds:.2f}')


def slope(points: list[dict], key: str) -> float:
    """Slope of the least-squares line through (log tokens, log value)."""
    x = [math.log(point['tokens']) for point in points]
    y = [math.log(point[key]) for point in points]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)
