"""The runs of a study side by side: processes, their threads, what is left when one fails or somebody stops them."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_tapadl.studies.facts import sources_digest
from mmseg_tapadl.studies.plan import Plan
from mmseg_tapadl.studies.run_folder import RunFolder, StepState
from mmseg_tapadl.studies.run_result import result_of
from mmseg_tapadl.studies.steps import ACDC_CONFIG, CONFIG, TRAIN, Step, command_of, last_checkpoint
from mmseg_tapadl.studies.variants import acdc_config, as_file
from mmseg_tapadl.utils import InputError, atomic_write, shown

_POLL_SECONDS = 0.1
# How much of a step's time a kill may lose.
_HEARTBEAT_SECONDS = 20.0
_THREAD_SETTINGS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')
_PR_SET_PDEATHSIG = 1
_LOG_END_BYTES = 20_000


@dataclass
class Outcome:
    """What became of the runs of a call.

    Attributes:
        finished: Finished in this call.
        failed: Failed in this call.
        busy: Another process was at them.
        stopped_by: The signal that stopped the call, 0 for none.
    """

    finished: list[RunFolder] = field(default_factory=list)
    failed: list[RunFolder] = field(default_factory=list)
    busy: list[RunFolder] = field(default_factory=list)
    stopped_by: int = 0


@dataclass
class Active:
    """A run that is being made.

    Attributes:
        run: Its folder.
        slot: Its place among the runs side by side.
        step: The step that runs.
        process: Of the step.
        started: When the process was started, by the clock that only moves on.
        before: Seconds that former calls spent in the step.
    """

    run: RunFolder
    slot: int
    step: Step
    process: subprocess.Popen
    started: float
    before: float
    saved: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the process has run."""
        return time.monotonic() - self.started


class Workers:
    """Makes runs, several side by side.

    Args:
        plan: The study.
        tools: The folder of ``train.py``, ``test.py`` and ``test_robustness.py``.
        jobs: How many runs go side by side.
        threads: Threads of each; what the environment says stays.
        keep_last: Keep a finished run's last checkpoint.
        say: Told in one line what begins, ends and fails.
        on_tick: Called several times a second with what runs and what waits.
        on_step: Called after each finished step.
        on_run: Called after each finished run.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        tools: Path,
        jobs: int,
        threads: int,
        keep_last: bool,
        say: Callable[[str], None],
        on_tick: Callable[[Sequence[Active], Sequence[RunFolder]], None],
        on_step: Callable[[RunFolder, Step], None],
        on_run: Callable[[RunFolder], object],
    ) -> None:
        self._plan = plan
        self._tools = tools
        self._jobs = jobs
        self._threads = threads
        self._keep_last = keep_last
        self._say = say
        self._on_tick = on_tick
        self._on_step = on_step
        self._on_run = on_run
        self._devices = visible_devices()
        self._active: list[Active] = []
        self._outcome = Outcome()

    def make(self, runs: Sequence[RunFolder]) -> Outcome:
        """Makes the runs that are not finished, in order.

        Raises:
            InputError: The sources changed under the runs; those that were going on are stopped first.
        """
        waiting = list(runs)
        with _signals() as asked:
            told = 0
            try:
                while self._active or (waiting and not asked):
                    while waiting and len(self._active) < self._jobs and not asked:
                        self._begin(waiting.pop(0))
                    for active in list(self._active):
                        self._look_at(active, stopping=bool(asked))
                    if len(asked) > told:
                        self._pass_on(asked[told], hard=told > 0)
                        told = len(asked)
                    self._on_tick(self._active, waiting)
                    if self._active:
                        time.sleep(_POLL_SECONDS)
            finally:
                self._end_all()
            self._outcome.stopped_by = asked[0] if asked else 0
        return self._outcome

    def _begin(self, run: RunFolder) -> None:
        if not run.take():
            self._outcome.busy.append(run)
            return
        if run.result_file.exists():  # another process was faster
            run.release()
            return
        run.clear_failure()
        variant = self._plan.variants[run.variant]
        _write_text(run.path / CONFIG, variant.text)
        if self._plan.study.acdc is not None:
            _write_text(run.path / ACDC_CONFIG, as_file(acdc_config(self._plan.study, variant)))
        slot = min(set(range(self._jobs)) - {active.slot for active in self._active})
        self._say(f'{run.name}: {"goes on" if run.begun else "begins"}')
        self._next_step(run, slot)

    def _next_step(self, run: RunFolder, slot: int) -> None:
        """Starts the first step that is not done, or ends the run."""
        checkpoint = last_checkpoint(run, self._plan.variants[run.variant].max_iters)
        for step in self._plan.steps:
            if run.step(step.name).done and not (step.name == TRAIN and checkpoint is None):
                continue
            self._start(run, slot, step, checkpoint)
            return
        self._end(run)

    def _start(self, run: RunFolder, slot: int, step: Step, checkpoint: Path | None) -> None:
        if sources_digest() != self._plan.sources:
            raise InputError(
                f'the sources of mmseg_tapadl/ changed while the study ran; {run.name} was not gone on with. Finished runs are kept'
            )
        words = [
            sys.executable,
            str(self._tools / step.tool),
            *command_of(step, run, self._plan.study, checkpoint),
        ]
        with open(run.path / f'{step.name}.log', 'ab') as log:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(slot),
                # Ctrl-C comes to this process, which passes it on: once, and to all alike.
                process_group=0,
                pass_fds=(run.lock_number,),
                preexec_fn=_die_with_parent,
            )
        state = run.step(step.name)
        self._active.append(Active(run, slot, step, process, time.monotonic(), state.seconds))

    def _environment(self, slot: int) -> dict[str, str]:
        environment = dict(os.environ)
        for name in _THREAD_SETTINGS:
            environment.setdefault(name, str(self._threads))
        if self._jobs > 1 and len(self._devices) > 1:
            environment['CUDA_VISIBLE_DEVICES'] = self._devices[slot % len(self._devices)]
        return environment

    def _look_at(self, active: Active, *, stopping: bool) -> None:
        status = active.process.poll()
        run, step = active.run, active.step
        if status is None:
            if active.seconds - active.saved > _HEARTBEAT_SECONDS:
                active.saved = active.seconds
                self._save(active, done=False)
            return
        self._active.remove(active)
        self._save(active, done=status == 0)
        if status == 0:
            self._on_step(run, step)
            if stopping:
                run.release()
            else:
                self._next_step(run, active.slot)
        elif stopping:
            run.release()
        else:
            self._fail(run, step.name, status, _why(run.path / f'{step.name}.log', status))

    def _save(self, active: Active, *, done: bool) -> None:
        threads = int(self._environment(active.slot)[_THREAD_SETTINGS[0]])
        state = StepState(active.before + active.seconds, done, threads, self._jobs)
        active.run.save_step(active.step.name, state)

    def _end(self, run: RunFolder) -> None:
        try:
            run.save_result(result_of(run, self._plan.steps, self._plan.study.variants[run.variant]))
        except InputError as error:
            self._fail(run, 'result', 2, str(error))
            return
        run.drop_checkpoints(keep_last=self._keep_last)
        run.release()
        self._outcome.finished.append(run)
        self._say(f'{run.name}: finished')
        self._on_run(run)

    def _fail(self, run: RunFolder, step: str, status: int, why: str) -> None:
        run.fail(step, status, why)
        run.release()
        self._outcome.failed.append(run)
        self._say(f'{run.name}: {step} failed with status {status}: {why}')

    def _pass_on(self, number: int, *, hard: bool) -> None:
        if not hard and self._active:
            self._say(
                f'stopping: {", ".join(active.run.name for active in self._active)} save what they have'
            )
        for active in self._active:
            active.process.send_signal(signal.SIGKILL if hard else number)

    def _end_all(self) -> None:
        """Where this process ends early nothing of it goes on; what was saved is gone on from."""
        for active in self._active:
            if active.process.poll() is None:
                active.process.terminate()
        for active in self._active:
            active.process.wait()
            self._save(active, done=False)
            active.run.release()
        self._active.clear()


def thread_share(jobs: int) -> int:
    """Threads of each of so many runs side by side: the cores this process may use, shared out."""
    given = os.environ.get(_THREAD_SETTINGS[0], '')
    if given.isdigit() and int(given) > 0:
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, cores // jobs)


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    given = os.environ.get('CUDA_VISIBLE_DEVICES')
    if given is not None:
        return [name for name in given.split(',') if name]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@contextmanager
def _signals() -> Iterator[list[int]]:
    """While it lasts, SIGINT and SIGTERM are put into the list that is given, and stop nothing by themselves."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    former: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        former[number] = signal.signal(number, lambda received, frame: asked.append(int(received)))
    try:
        yield asked
    finally:
        for kept, handler in former.items():
            signal.signal(kept, handler)


def _die_with_parent() -> None:
    """In the child: where the study's process is killed outright, the run is asked to save and to leave."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _why(log: Path, status: int) -> str:
    """The last line that a failed tool printed of itself."""
    if status < 0:
        name = signal.Signals(-status).name
        return f'killed by {name}{" (out of memory?)" if -status == signal.SIGKILL else ""}; see {shown(log)}'
    with open(log, 'rb') as file:
        file.seek(max(0, log.stat().st_size - _LOG_END_BYTES))
        lines = file.read().decode('utf-8', 'replace').splitlines()
    told = [line for line in lines if '.py: ' in line] or [line for line in lines if line.strip()]
    return told[-1].strip() if told else f'it printed nothing; see {shown(log)}'


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path, 'w', encoding='utf-8') as file:
        file.write(text)
