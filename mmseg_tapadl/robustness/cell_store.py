"""Finished cells on disk, and the guard that keeps the cells of different sweeps apart."""

import json
from pathlib import Path
from typing import Any

from mmseg_tapadl.engine.errors import RunMismatchError
from mmseg_tapadl.evaluation.robustness_presets import Cell
from mmseg_tapadl.robustness.cell_details import CellDetails, DamagedDetails, DetailsFile, write_details
from mmseg_tapadl.utils import write_json
from mmseg_tapadl.utils.config_values import digest_of

RESULTS_FILE = 'robustness.json'
DETAILS = 'details'


class SweepMismatch(RunMismatchError):
    """The work dir holds cells of another sweep; the message says what differs."""


class CellStore:
    """``<work_dir>/sweep.json`` with what identifies the sweep, ``cells/<cell>.json`` and ``details/<cell>.zip``.

    Every file is written under another name and renamed when it is whole, so a file that is there is whole,
    whatever killed the process. Every cell carries the digest of its sweep and is not read under another.

    Args:
        work_dir: The sweep's folder.
        identity: What the numbers depend on, by name; plain JSON values.
    """

    def __init__(self, work_dir: Path, identity: dict[str, Any]) -> None:
        self.work_dir = Path(work_dir)
        self.identity = identity
        self.digest = digest_of(identity)

    @property
    def _identity_file(self) -> Path:
        return self.work_dir / 'sweep.json'

    def _cell_file(self, cell: Cell) -> Path:
        return self.work_dir / 'cells' / f'{cell.name}.json'

    def _details_file(self, cell: Cell) -> Path:
        return details_file(self.work_dir, cell)

    def open(self, *, fresh: bool = False) -> None:
        """Takes the work dir for this sweep.

        Args:
            fresh: Throw the cells of a former sweep away.

        Raises:
            SweepMismatch: When it holds another sweep, or its results, and ``fresh`` is not set.
        """
        if fresh:
            for file in [*(self.work_dir / 'cells').glob('*.json'), *(self.work_dir / DETAILS).glob('*.zip')]:
                file.unlink()
            self._identity_file.unlink(missing_ok=True)
        else:
            self._spare_other_results()
        if self._identity_file.exists():
            former = _read_json(self._identity_file)
            changed = [
                key for key in {**former, **self.identity} if former.get(key) != self.identity.get(key)
            ]
            if changed:
                changes = '; '.join(
                    _change(key, former.get(key), self.identity.get(key)) for key in sorted(changed)
                )
                raise SweepMismatch(
                    f'{self.work_dir} holds the cells of another sweep ({changes}). Give another --work-dir, '
                    'or --fresh to throw those cells away'
                )
        else:
            write_json(self._identity_file, self.identity)

    def _spare_other_results(self) -> None:
        # The end of a sweep writes its results here. The file tells whose they are, also without its cells.
        file = self.work_dir / RESULTS_FILE
        if (
            not self._identity_file.exists()
            and file.exists()
            and _read_json(file).get('sweep') != self.digest
        ):
            raise SweepMismatch(
                f'{file} holds the results of another sweep. Give another --work-dir, or --fresh to replace them'
            )

    def load(self, cell: Cell) -> dict | None:
        """The record of a finished cell, or None.

        Raises:
            SweepMismatch: When a file was put there from another sweep, or is damaged.
        """
        file = self._cell_file(cell)
        if not file.exists():
            return None
        record = _read_json(file)
        if record.pop('sweep', None) != self.digest:
            raise SweepMismatch(f'{file} is from another sweep; delete it, or start over with --fresh')
        return record

    def details(self, cell: Cell) -> DetailsFile | None:
        """The details of a cell, or None.

        Raises:
            SweepMismatch: When the file was put there from another sweep, or is damaged.
        """
        if not self._details_file(cell).exists():
            return None
        try:
            details = DetailsFile(self._details_file(cell))
        except DamagedDetails as error:
            raise SweepMismatch(f'{error}; delete it, or start over with --fresh') from error
        if details.sweep != self.digest:
            raise SweepMismatch(
                f'{details.path} is from another sweep; delete it, or start over with --fresh'
            )
        return details

    def save_details(self, cell: Cell, details: CellDetails) -> None:
        """Writes the details of a cell; its record comes after them."""
        write_details(self._details_file(cell), details, self.digest)

    def save(self, cell: Cell, record: dict) -> None:
        """Writes a finished cell; it exists as a whole or not at all."""
        write_json(self._cell_file(cell), {**record, 'sweep': self.digest})


def details_file(work_dir: Path, cell: Cell) -> Path:
    """Where the details of a cell lie."""
    return work_dir / DETAILS / f'{cell.name}.zip'


def _read_json(file: Path) -> dict:
    try:
        value = json.loads(file.read_text(encoding='utf-8'))
        if not isinstance(value, dict):
            raise ValueError('it is not an object')
    except ValueError as error:
        raise SweepMismatch(f'{file} is damaged ({error}); delete it, or start over with --fresh') from error
    return value


def _change(key: str, former: Any, now: Any) -> str:
    if isinstance(former, dict) and isinstance(now, dict):
        inner = sorted(k for k in {**former, **now} if former.get(k) != now.get(k))
        return ', '.join(f'{key} {k}: {former.get(k)} then, {now.get(k)} now' for k in inner)
    if isinstance(former, list) or isinstance(now, list):
        return f'the {key} differ'
    if isinstance(now, str) and len(now) == 64:
        return f'the {key} differs'
    return f'{key}: {"not known" if former is None else former} then, {"none" if now is None else now} now'
