"""A whole study: what is left is made, and what is there is written up."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg_tapadl.studies.estimate import Estimate, check_disk, disk_needed, duration, gigabytes
from mmseg_tapadl.studies.merge import merge
from mmseg_tapadl.studies.plan import Plan, make_plan
from mmseg_tapadl.studies.run_folder import RunFolder
from mmseg_tapadl.studies.steps import fraction_of
from mmseg_tapadl.studies.study_file import read_study
from mmseg_tapadl.studies.tables import primary_sentence
from mmseg_tapadl.studies.workers import Active, Outcome, Workers, thread_share
from mmseg_tapadl.studies.write_up import write_up
from mmseg_tapadl.utils import InputError, RunStopped, shown
from mmseg_tapadl.utils.errors import EXIT_ERROR

KEEP = ('last', 'none')
# A person's screen is told often, a log file now and then.
_SCREEN_SECONDS, _LOG_SECONDS = 1.0, 60.0


def run_study(
    file: str | os.PathLike,
    *,
    tools: Path,
    work_dir: str | None = None,
    jobs: int = 1,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    shard: tuple[int, int] | None = None,
    dry_run: bool = False,
    data: str | None = None,
    pretrained: str | None = None,
    keep_checkpoints: str = 'last',
    parts: Sequence[str] | None = None,
) -> int:
    """Makes the runs of a study that are not finished and writes ``study.json``, ``.csv``, ``.md`` and ``.html``.

    Args:
        file: The study.
        tools: The folder of the tools that the runs are calls of.
        work_dir: Where everything goes; None: ``work_dirs/studies/<name>``.
        jobs: How many runs go side by side.
        only: Only these variants.
        seeds: In place of the study's.
        shard: ``(i, n)``: only the i-th of n parts of the runs, from 1.
        dry_run: Only say how many runs are left, how long they take and how much disk; nothing is written.
        data: Folder in place of the data's.
        pretrained: Weights to start from, in place of the study's.
        keep_checkpoints: ``'last'`` or ``'none'``: of a finished run.
        parts: Work dirs of shards to put together in ``work_dir``; then nothing is run.

    Returns:
        The exit status: 0, or 1 where runs failed.

    Raises:
        InputError: What cannot be run as it is written, before the first run.
        DiskFullError: The disk will not hold the runs.
        RunStopped: On SIGINT and SIGTERM; the same call goes on.
    """
    if jobs < 1:
        raise InputError(f'--jobs {jobs}: must be 1 or more')
    study = read_study(file, seeds=seeds, data=data, pretrained=pretrained)
    folder = Path(work_dir) if work_dir else Path('work_dirs') / 'studies' / study.name
    if parts:
        summary = merge(study, [Path(part) for part in parts], folder)
        return _told(summary, folder)
    plan = make_plan(study, folder, say=_say)
    chosen = plan.chosen(only, shard)
    plan.check_folders()
    left = [run for run in chosen if not run.result_file.exists()]
    keep_last = keep_checkpoints == 'last'
    needed = disk_needed(plan, left, jobs=jobs, keep_last=keep_last)
    estimate = Estimate(plan, jobs=jobs, threads=thread_share(jobs))
    _say(_outlook(chosen, left, estimate, needed, jobs))
    check_disk(plan, needed, keep_last=keep_last)
    if dry_run:
        return 0
    plan.write()
    progress = _Progress(chosen, plan, estimate)
    workers = Workers(
        plan,
        tools=tools,
        jobs=jobs,
        threads=thread_share(jobs),
        keep_last=keep_last,
        say=progress.say,
        on_tick=progress.tick,
        on_step=estimate.learn,
        on_run=lambda run: write_up(study, folder, plan.known),
    )
    outcome = workers.make(left)
    summary = write_up(study, folder, plan.known)
    progress.clear()
    _told(summary, folder)
    return _end(outcome, chosen, plan)


def _told(summary: Mapping[str, Any], folder: Path) -> int:
    runs = summary['runs']
    _say(
        f'{sum(run["status"] == "finished" for run in runs)} of the {len(runs)} runs of the study are finished'
    )
    _say(primary_sentence(summary))
    _say(f'wrote {shown(folder / "study.html")}')
    return 0


def _outlook(
    chosen: Sequence[RunFolder], left: Sequence[RunFolder], estimate: Estimate, needed: int, jobs: int
) -> str:
    failed = sum(run.failure is not None for run in left)
    again = f', {failed} of them failed before and are tried again' if failed else ''
    seconds = estimate.span([estimate.left_of(run) for run in left])
    if not left:
        time_left = 'nothing is left to do'
    elif seconds is None:
        time_left = 'how long they take is known once a run has been made'
    else:
        time_left = f'about {duration(seconds)} with --jobs {jobs}'
    return (
        f'{len(chosen)} runs, {len(chosen) - len(left)} finished, {len(left)} left{again}; {time_left}; '
        f'up to {gigabytes(needed)} of disk'
    )


def _end(outcome: Outcome, chosen: Sequence[RunFolder], plan: Plan) -> int:
    done = sum(run.result_file.exists() for run in chosen)
    for run in outcome.busy:
        _say(f'{run.name}: another process is at it')
    if outcome.failed:
        _say(f'{len(outcome.failed)} failed, and are tried again by the same command:')
        for run in outcome.failed:
            failure = run.failure or {}
            _say(f'  {run.name}: {failure.get("step")}: {failure.get("message")}')
    if outcome.stopped_by:
        raise RunStopped(
            outcome.stopped_by,
            f'stopped; {done} of {len(chosen)} runs are finished, the others are saved; the same command goes on',
        )
    if len(chosen) < len(plan.runs):
        _say(f'{done} of the {len(chosen)} runs of this call are finished')
    return EXIT_ERROR if outcome.failed else 0


class _Progress:
    """One line about the whole study, renewed on a screen, now and then in a log."""

    def __init__(self, chosen: Sequence[RunFolder], plan: Plan, estimate: Estimate) -> None:
        self._chosen = chosen
        self._plan = plan
        self._estimate = estimate
        self._screen = sys.stderr.isatty()
        self._next = time.monotonic()

    def tick(self, active: Sequence[Active], waiting: Sequence[RunFolder]) -> None:
        """Shows how far all is, if it is time to."""
        now = time.monotonic()
        if now < self._next or not active:
            return
        self._next = now + (_SCREEN_SECONDS if self._screen else _LOG_SECONDS)
        done = sum(run.result_file.exists() for run in self._chosen)
        parts = [f'{done} of {len(self._chosen)} runs finished']
        for one in active:
            share = fraction_of(one.step, one.run, self._plan.variants[one.run.variant].max_iters)
            parts.append(f'{one.run.name} {one.step.name} {100 * share:.0f} %')
        left: list[float | None] = [
            self._estimate.left_of(one.run, running=(one.step, one.before + one.seconds)) for one in active
        ]
        left += [self._estimate.left_of(run) for run in waiting]
        seconds = self._estimate.span(left)
        if seconds is not None:
            parts.append(f'about {duration(seconds)} left')
        self._show(', '.join(parts))

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        _say(text)

    def clear(self) -> None:
        """Takes the renewed line from the screen."""
        if self._screen:
            print('\r\x1b[K', end='', file=sys.stderr, flush=True)

    def _show(self, text: str) -> None:
        if self._screen:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            print(f'\r\x1b[K{text[: width - 1]}', end='', file=sys.stderr, flush=True)
        else:
            _say(text)


def _say(text: str) -> None:
    print(text, flush=True)
