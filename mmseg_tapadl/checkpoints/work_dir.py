"""What lies in a work dir: which checkpoint to go on from, and whether another run lives there."""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, DiskFullError, check_whole
from mmseg_tapadl.utils import atomic_write

POINTER = 'last_checkpoint'
BEST_RECORD = 'best_checkpoints.json'
_STEP = re.compile(r'(?:iter|epoch)_(\d+)\.pth')


def step_of(path: Path) -> int:
    """The iteration in a checkpoint's name, -1 for other files."""
    match = _STEP.fullmatch(path.name)
    return int(match[1]) if match else -1


def checkpoints_in(folder: str | Path) -> list[Path]:
    """The checkpoints of a run in ``folder``, the last first; temporary files do not count."""
    return sorted((p for p in Path(folder).glob('*.pth') if step_of(p) >= 0), key=step_of, reverse=True)


def point_to(checkpoint: str | Path, folder: str | Path) -> None:
    """Writes which checkpoint is the last: its bare name, so that a work dir can be moved or copied."""
    with atomic_write(Path(folder) / POINTER, 'w') as file:
        file.write(Path(checkpoint).name)


def newest_whole(folder: str | Path, say: Callable[[str], None]) -> Path | None:
    """The checkpoint to resume from: the one pointed to if it is whole, else the newest that is.

    Args:
        folder: The work dir.
        say: Told about every file that is passed over, and why.

    Returns:
        The file, or None when there is no checkpoint at all.

    Raises:
        CheckpointError: When there are checkpoints and not one is whole.
    """
    folder = Path(folder)
    candidates = checkpoints_in(folder)
    pointer = folder / POINTER
    if pointer.is_file():
        # Only the name counts: a pointer must not lead out of its own folder.
        named = folder / Path(pointer.read_text().strip()).name
        if named in candidates:
            candidates.remove(named)
            candidates.insert(0, named)
    for candidate in candidates:
        try:
            check_whole(candidate)
        except CheckpointError as error:
            say(f'passed over a broken checkpoint: {error}')
        else:
            return candidate
    if candidates:
        raise CheckpointError(
            f'{folder}: none of its {len(candidates)} checkpoints is whole; start anew with --overwrite'
        )
    return None


def refuse_used(folder: str | Path, overwrite: bool, *, needed: Iterable[str | Path] = ()) -> None:
    """Keeps a new run from being mixed with the files of an older one.

    Args:
        folder: The work dir of the new run.
        overwrite: Remove the older run's checkpoints and records first.
        needed: Files that the new run starts from, which must not be among them.

    Raises:
        CheckpointError: When there are some and ``overwrite`` is not set, or one of them is needed; then none is removed.
    """
    folder = Path(folder)
    old = [*checkpoints_in(folder), *folder.glob('best_*.pth'), *folder.glob('.*.pth.*.tmp')]
    old += [
        folder / name
        for name in (POINTER, BEST_RECORD, 'validation_metrics.json')
        if (folder / name).exists()
    ]
    if not old:
        return
    if not overwrite:
        raise CheckpointError(
            f'{folder} holds another run ({old[0].name} and {len(old) - 1} more files): go on with --resume, '
            'replace it with --overwrite, or choose another --work-dir'
        )
    own = {path.resolve() for path in old}
    lost = [path for path in needed if Path(path).expanduser().resolve() in own]
    if lost:
        raise CheckpointError(
            f'--overwrite would remove {lost[0]}, which this run starts from: choose another --work-dir, or move the file away'
        )
    for path in old:
        path.unlink()


def check_free_space(folder: str | Path, needed: int) -> None:
    """Raises :class:`DiskFullError` when fewer than ``needed`` bytes are free where ``folder`` lies."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFullError(
            f'{folder}: {needed / 1e6:.0f} MB are needed for the checkpoints to keep, {free / 1e6:.0f} MB are free; '
            'free some space, keep fewer (default_hooks.checkpoint.max_keep_ckpts), or set another --work-dir'
        )


def read_best_record(folder: str | Path) -> list[dict]:
    """The improvements recorded so far, the oldest first; empty where there is no readable record."""
    try:
        record = json.loads((Path(folder) / BEST_RECORD).read_text())
    except (OSError, ValueError):
        return []
    return record if isinstance(record, list) else []
