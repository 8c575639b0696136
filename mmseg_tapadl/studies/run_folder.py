"""The folder of one run of a study: whose it is, how far it is, and that nobody else is at it."""

import errno
import fcntl
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_tapadl.engine.errors import RunMismatchError
from mmseg_tapadl.utils import InputError, write_json
from mmseg_tapadl.utils.config_values import changes_between, plain_values

IDENTITY_FILE = 'run.json'
_STATE_FILE = 'state.json'
_FAILURE_FILE = 'failed.json'
_LOCK_FILE = 'lock'
_SHOWN = 4
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_WORDS = {
    'sources': 'other sources of mmseg_tapadl/',
    'versions': 'other library versions',
    'data': 'other data',
    'weights': 'other weights to start from',
    'config': 'another config',
    'study': 'another study',
    'measure': 'other things to measure',
}


class StudyMismatch(RunMismatchError):
    """What lies in a study's folder was made in another way than it would be made now; the message says what differs."""


@dataclass
class StepState:
    """How far a step of a run is.

    Attributes:
        seconds: Spent in it so far, over all calls.
        done: Whether it ended well.
        threads: Threads of its process.
        jobs: How many runs went side by side.
    """

    seconds: float = 0.0
    done: bool = False
    threads: int = 0
    jobs: int = 1


@dataclass
class RunFolder:
    """``runs/<variant>/seed_<seed>`` of a study's work dir.

    Attributes:
        path: The folder.
        result_file: Where the result goes, beside those of the other runs.
        variant: Name of the variant.
        seed: The seed.
        identity: What the result depends on; plain JSON values.
    """

    path: Path
    result_file: Path
    variant: str
    seed: int
    identity: dict[str, Any]
    _lock: Any = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """``variant/seed_0``."""
        return f'{self.variant}/seed_{self.seed}'

    def check(self) -> None:
        """Compares what is there with what would be made now, and changes nothing.

        Raises:
            StudyMismatch: Naming the folder and what differs.
        """
        result = read_object(self.result_file)
        if result is not None:
            _compare(self.result_file, result.get('identity'), self.identity)
        identity = read_object(self.path / IDENTITY_FILE)
        if identity is not None:
            _compare(self.path, identity, self.identity)
        elif foreign_files(self.path, besides=(_LOCK_FILE, _FAILURE_FILE)):
            raise StudyMismatch(
                f'{self.path} holds files that no run of a study wrote; give another --work-dir'
            )

    def take(self) -> bool:
        """Takes the folder for this process and its children, and leaves word whose it is.

        Returns:
            False when another process is at this run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = open(self.path / _LOCK_FILE, 'a')  # noqa: SIM115  open as long as the run is ours
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        except OSError as error:
            # Some network mounts lock nothing: then it is for the caller not to start the same study twice.
            if error.errno not in _NO_LOCKS:
                raise
        self._lock = lock
        if not (self.path / IDENTITY_FILE).exists():
            write_json(self.path / IDENTITY_FILE, self.identity)
        return True

    @property
    def lock_number(self) -> int:
        """The open file that holds the folder: a child that has it too holds the folder when this process is gone."""
        return self._lock.fileno()

    def release(self) -> None:
        """Leaves the folder to others."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def result(self) -> dict | None:
        """The result of the finished run, or None."""
        return read_object(self.result_file)

    def save_result(self, result: Mapping[str, Any]) -> None:
        """Writes the result: the run is finished."""
        write_json(self.result_file, {**result, 'identity': self.identity})
        (self.path / _FAILURE_FILE).unlink(missing_ok=True)

    def step(self, name: str) -> StepState:
        """How far a step is."""
        return StepState(**self._states().get(name, {}))

    def save_step(self, name: str, state: StepState) -> None:
        """Writes how far a step is."""
        write_json(self.path / _STATE_FILE, {**self._states(), name: vars(state)})

    def _states(self) -> dict[str, dict]:
        return read_object(self.path / _STATE_FILE) or {}

    @property
    def failure(self) -> dict | None:
        """What a failed run left: ``step``, ``exit_status`` and ``message``; None for a run that did not fail."""
        return read_object(self.path / _FAILURE_FILE)

    def fail(self, step: str, exit_status: int, message: str) -> None:
        """Leaves word that a step failed, until the run is tried again."""
        write_json(self.path / _FAILURE_FILE, {'step': step, 'exit_status': exit_status, 'message': message})

    def clear_failure(self) -> None:
        """Forgets a failure: the run is tried again."""
        (self.path / _FAILURE_FILE).unlink(missing_ok=True)

    @property
    def begun(self) -> bool:
        """Whether anything of it is there."""
        return (self.path / _STATE_FILE).exists()

    def drop_checkpoints(self, *, keep_last: bool) -> None:
        """Deletes the checkpoints of the training but the last, or that too."""
        files = sorted(self.path.glob('train/*.pth'), key=_step)
        for file in files[:-1] if keep_last else files:
            file.unlink()


def _step(file: Path) -> int:
    found = re.fullmatch(r'iter_(\d+)', file.stem)
    return int(found[1]) if found else -1


def read_object(path: Path) -> dict | None:
    """A JSON object from a file; None where there is no such file.

    Raises:
        InputError: The file is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f'{path}: is damaged ({error}); delete it') from error
    if not isinstance(value, dict):
        raise InputError(f'{path}: is damaged (it is no object); delete it')
    return value


def _compare(place: Path, then: Any, now: dict[str, Any]) -> None:
    if not isinstance(then, dict) or 'study' not in then:
        raise StudyMismatch(f'{place} is not of a study; give another --work-dir')
    check_same(str(place), then, now)


def check_same(place: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compares what two results depend on.

    Raises:
        StudyMismatch: Beginning with ``place``, with what differs.
    """
    differing = [key for key in {**now, **then} if plain_values(then.get(key)) != plain_values(now.get(key))]
    changes = [
        change
        for key in differing
        for change in changes_between({key: plain_values(then.get(key))}, {key: plain_values(now.get(key))})
    ]
    if not changes:
        return
    words = ', '.join(_WORDS.get(key, f'another {key}') for key in differing)
    told = '; '.join(_shown(change) for change in changes[:_SHOWN])
    more = f' and {len(changes) - _SHOWN} more' if len(changes) > _SHOWN else ''
    raise StudyMismatch(
        f'{place} was made with {words} ({told}{more}): such figures cannot stand beside each other. Go back to what it was made '
        'with, or give another --work-dir'
    )


def _shown(change: Any) -> str:
    if all(isinstance(value, str) and len(value) == 64 for value in (change.before, change.now)):
        return f'{change.key}: {change.before[:12]} then, {change.now[:12]} now'
    return str(change).replace('when saved', 'then')


def foreign_files(folder: Path, *, besides: Sequence[str] = ()) -> bool:
    """Whether anything lies in a folder but files of these names and hidden ones, which a kill may leave half written."""
    if not folder.is_dir():
        return False
    return any(not entry.name.startswith('.') and entry.name not in besides for entry in folder.iterdir())


def folder_size(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.lstat().st_size for file in path.rglob('*') if file.is_file())
