"""Writes what is known of a study: for programs, for spreadsheets, to paste and to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmseg_tapadl.studies.page import as_page
from mmseg_tapadl.studies.run_folder import RunFolder
from mmseg_tapadl.studies.study_file import Study
from mmseg_tapadl.studies.summary import as_csv, build_summary
from mmseg_tapadl.studies.tables import as_markdown
from mmseg_tapadl.utils import atomic_write, write_json


def write_up(study: Study, work_dir: Path, runs: Sequence[RunFolder]) -> dict[str, Any]:
    """Writes ``study.json``, ``study.csv``, ``study.md`` and ``study.html``, each whole or not at all.

    Args:
        study: The study.
        work_dir: Where they go.
        runs: All its runs, finished or not.

    Returns:
        The content of ``study.json``.
    """
    summary = build_summary(study, runs)
    write_json(work_dir / 'study.json', summary)
    for name, text in (
        ('study.csv', as_csv(summary)),
        ('study.md', as_markdown(summary)),
        ('study.html', as_page(summary)),
    ):
        with atomic_write(work_dir / name, 'w', encoding='utf-8') as file:
            file.write(text)
    return summary
