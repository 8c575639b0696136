"""How long what is left of a study takes, and how much disk."""

import heapq
import shutil
from collections.abc import Iterable, Sequence
from statistics import mean

from mmseg_tapadl.studies.plan import Plan
from mmseg_tapadl.studies.run_folder import RunFolder, folder_size
from mmseg_tapadl.studies.steps import TRAIN, Step, fraction_of
from mmseg_tapadl.utils import DiskFullError

# Adam keeps two numbers for each weight beside the weight itself, 4 bytes each.
_BYTES_PER_WEIGHT = 12
# Two are kept during a training, and a third is there before the first of them goes.
_CHECKPOINTS_WHILE_TRAINING = 3
# Below this share of a step its own pace tells little.
_TELLING_SHARE = 0.05
# Logs, and the small pictures that a sweep keeps of each corruption, for a run that nobody has made yet.
_BYTES_BESIDE = 20_000_000


class Estimate:
    """Times of steps, learnt from those that are done.

    Args:
        plan: The study.
        jobs: How many runs go side by side.
        threads: Threads of each.
    """

    def __init__(self, plan: Plan, *, jobs: int, threads: int) -> None:
        self._plan = plan
        self._jobs = jobs
        self._threads = threads
        # (variant, step) -> seconds, brought to today's threads.
        self._known: dict[tuple[str, str], list[float]] = {}
        for run in plan.known:
            for step in plan.steps:
                self.learn(run, step)

    def learn(self, run: RunFolder, step: Step) -> None:
        """Takes the time of a step, if it is done."""
        state = run.step(step.name)
        if state.done and state.seconds > 0:
            seconds = state.seconds * max(state.threads, 1) / max(self._threads, 1)
            self._known.setdefault((run.variant, step.name), []).append(seconds)

    def of(self, run: RunFolder, step: Step) -> float | None:
        """Seconds of a whole step: of this variant's, else of another's brought to its length; None while none is known."""
        own = self._known.get((run.variant, step.name))
        if own:
            return mean(own)
        length = self._length(run.variant, step)
        others = [
            mean(seconds) * length / self._length(variant, step)
            for (variant, name), seconds in self._known.items()
            if name == step.name
        ]
        return mean(others) if others else None

    def _length(self, variant: str, step: Step) -> float:
        return float(self._plan.variants[variant].max_iters) if step.name == TRAIN else 1.0

    def left_of(self, run: RunFolder, *, running: tuple[Step, float] | None = None) -> float | None:
        """Seconds that a run still needs; None while they cannot be told.

        Args:
            run: The run.
            running: The step that runs now, and the seconds spent in it, those of former calls too.
        """
        total = 0.0
        max_iters = self._plan.variants[run.variant].max_iters
        for step in self._plan.steps:
            if run.step(step.name).done:
                continue
            share = fraction_of(step, run, max_iters)
            whole = self.of(run, step)
            if whole is None and running is not None and running[0] == step and share > _TELLING_SHARE:
                whole = running[1] / share
            if whole is None:
                return None
            total += whole * (1.0 - share)
        return total

    def span(self, left: Iterable[float | None]) -> float | None:
        """Seconds until runs of these lengths are done, side by side in this order; None while one cannot be told."""
        slots = [0.0] * self._jobs
        heapq.heapify(slots)
        for seconds in left:
            if seconds is None:
                return None
            heapq.heappush(slots, heapq.heappop(slots) + seconds)
        return max(slots)


def disk_needed(plan: Plan, runs: Sequence[RunFolder], *, jobs: int, keep_last: bool) -> int:
    """Bytes that the runs which are not finished will take, at the fullest moment."""
    finished = [run for run in plan.runs if run.path.is_dir() and run.result_file.exists()]
    beside = _BYTES_BESIDE
    if finished:
        sizes = [folder_size(run.path) - folder_size_of_checkpoints(run) for run in finished]
        beside = round(mean(sizes))
    checkpoints = sorted(
        (plan.variants[run.variant].weights * _BYTES_PER_WEIGHT for run in runs), reverse=True
    )
    kept = sum(checkpoints) if keep_last else 0
    extra = _CHECKPOINTS_WHILE_TRAINING - (1 if keep_last else 0)
    return kept + extra * sum(checkpoints[:jobs]) + beside * len(runs)


def folder_size_of_checkpoints(run: RunFolder) -> int:
    """Bytes of a run's checkpoints."""
    return sum(file.stat().st_size for file in run.path.glob('train/*.pth'))


def check_disk(plan: Plan, needed: int, *, keep_last: bool) -> None:
    """Raises :class:`~mmseg_tapadl.utils.DiskFullError` where the disk will not hold so many bytes."""
    folder = plan.work_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return
    advice = 'keep no checkpoints (--keep-checkpoints none), ' if keep_last else ''
    raise DiskFullError(
        f'{plan.work_dir}: the runs that are left need {gigabytes(needed)} with their checkpoints, {gigabytes(free)} are free; '
        f'free some space, {advice}or give another --work-dir'
    )


def gigabytes(count: float) -> str:
    """``'1.5 GB'``."""
    return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{count / 1e6:.0f} MB'


def duration(seconds: float) -> str:
    """``'2 h 05 min'``, ``'7 min'``, ``'140 s'``: rounded by a tenth at most."""
    if seconds < 300:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 60 else f'{minutes // 60} h {minutes % 60:02d} min'
