"""All runs of a study and where each lies, compared with what is there before anything starts."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_tapadl.studies.facts import DataDigests, FileDigests, pinned_versions, sources_digest
from mmseg_tapadl.studies.run_folder import RunFolder, StudyMismatch, foreign_files
from mmseg_tapadl.studies.steps import Step, steps_of
from mmseg_tapadl.studies.study_file import Study, StudyError
from mmseg_tapadl.studies.variants import Variant, acdc_config, naming, resolve_variants, result_config
from mmseg_tapadl.utils import write_json
from mmseg_tapadl.utils.arguments import did_you_mean
from mmseg_tapadl.utils.config_values import changes_between, plain_values

PLAN_FILE = 'plan.json'
RESULTS, RUNS = 'results', 'runs'
_FORMAT = 'mmseg_tapadl.study_plan'


@dataclass(frozen=True)
class Plan:
    """A study and its runs.

    Attributes:
        study: The study.
        work_dir: Where everything goes.
        variants: Of the study, ready to run.
        steps: Of every run.
        runs: All of them; the variants of one seed stand together, so that a study that is cut off has whole pairs.
        others: Finished runs of seeds that this call does not name.
        sources: Digest of the sources that the runs are made with.
        files: Digests of the data's files, to be remembered.
    """

    study: Study
    work_dir: Path
    variants: dict[str, Variant]
    steps: list[Step]
    runs: list[RunFolder]
    others: list[RunFolder]
    sources: str
    files: FileDigests

    @property
    def known(self) -> list[RunFolder]:
        """All runs that a write-up tells of."""
        return [*self.runs, *self.others]

    def chosen(self, only: Sequence[str] | None, shard: tuple[int, int] | None) -> list[RunFolder]:
        """The runs that this call is about.

        Args:
            only: Names of variants, None for all.
            shard: ``(i, n)``: the i-th of n parts, from 1, in turn.
        """
        for name in only or ():
            if name not in self.variants:
                known = ', '.join(self.variants)
                raise StudyError(
                    f'--only {name}: no such variant{did_you_mean(name, self.variants)}; there are {known}'
                )
        runs = [run for run in self.runs if not only or run.variant in only]
        if shard is None:
            return runs
        part, parts = shard
        return runs[part - 1 :: parts]

    def check_folders(self) -> None:
        """Compares the work dir with the study, and takes it.

        Raises:
            StudyMismatch: It holds another study, or a run that was made in another way.
        """
        check_plan(self.work_dir, describe(self.study))
        for run in self.known:
            run.check()

    def write(self) -> None:
        """Leaves word whose the work dir is; what was named before the first run stays."""
        if not (self.work_dir / PLAN_FILE).exists():
            write_json(self.work_dir / PLAN_FILE, describe(self.study))
        self.files.save()


def make_plan(study: Study, work_dir: Path, *, say: Callable[[str], None] = lambda text: None) -> Plan:
    """Resolves a study's variants and gathers what their results depend on.

    Args:
        study: The study.
        work_dir: Where everything goes.
        say: Told what takes a while.

    Raises:
        StudyError: A variant that cannot be run as it is written.
        InputError: Data or weights that are missing.
    """
    variants = resolve_variants(study)
    files = FileDigests(work_dir / '.file_digests.json')
    data = DataDigests(files)
    say('looking at the data')
    sources, versions = sources_digest(), pinned_versions()
    measure = {'cells': [cell.name for cell in study.cells], 'acdc': study.acdc is not None}
    identities = {}
    for name, variant in variants.items():
        config = variant.config
        with naming(f'{study.file}: variants.{name}'):
            digests = {
                'train': data.of(config, 'train_dataloader'),
                'test': data.of(config, 'test_dataloader'),
            }
            if study.acdc is not None:
                digests['acdc'] = data.of(acdc_config(study, variant), 'test_dataloader')
        weights = _weights(study, variant, files)
        identities[name] = {
            'study': study.name,
            # Which files they are their digests say, wherever they lie.
            'config': without_places({**result_config(config), **dict.fromkeys(weights)}),
            'measure': measure,
            'amp': study.amp,
            'weights': weights,
            'data': digests,
            'sources': sources,
            'versions': versions,
        }

    def run_of(name: str, seed: int) -> RunFolder:
        return run_folder(work_dir, name, seed, {**identities[name], 'variant': name, 'seed': seed})

    runs = [run_of(name, seed) for seed in study.seeds for name in variants]
    more = (run_of(name, seed) for seed in _other_seeds(study, work_dir) for name in variants)
    return Plan(
        study,
        work_dir,
        variants,
        steps_of(study),
        runs,
        [run for run in more if run.result_file.exists()],
        sources,
        files,
    )


def run_folder(work_dir: Path, variant: str, seed: int, identity: dict[str, Any]) -> RunFolder:
    """Where a run of a study lies."""
    return RunFolder(
        path=work_dir / RUNS / variant / f'seed_{seed}',
        result_file=work_dir / RESULTS / f'{variant}_seed_{seed}.json',
        variant=variant,
        seed=seed,
        identity=identity,
    )


def _other_seeds(study: Study, work_dir: Path) -> list[int]:
    """Seeds of results that are there and that the study as called does not name."""
    named = (re.search(r'_seed_(\d+)$', file.stem) for file in (work_dir / RESULTS).glob('*.json'))
    return sorted({int(found[1]) for found in named if found} - set(study.seeds))


def describe(study: Study) -> dict[str, Any]:
    """What a study is about: its name, what it compares and measures, and its primary difference."""
    return {
        'format': _FORMAT,
        'study': study.name,
        'primary': vars(study.primary),
        'measure': {'cells': [cell.name for cell in study.cells], 'acdc': study.acdc is not None},
        'expectation': study.expectation,
    }


def check_plan(work_dir: Path, described: dict[str, Any]) -> None:
    """Raises :class:`StudyMismatch` where a work dir is another study's, or the primary difference has changed."""
    there = read_plan(work_dir)
    if there is None:
        if foreign_files(work_dir):
            raise StudyMismatch(f'{work_dir} is not empty and no study lies in it; give another --work-dir')
        return
    for change in changes_between(plain_values(there), plain_values(described)):
        raise StudyMismatch(
            f'{work_dir} holds another study: {str(change).replace("when saved", "there")}. What a study compares and measures '
            'is named before its first run; give another --work-dir'
        )


def read_plan(work_dir: Path) -> dict[str, Any] | None:
    """What the study in a work dir is about; None where there is none.

    Raises:
        StudyMismatch: The file is damaged.
    """
    file = work_dir / PLAN_FILE
    try:
        value = json.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StudyMismatch(f'{file}: is damaged ({error})') from error
    if not isinstance(value, dict) or value.get('format') != _FORMAT:
        raise StudyMismatch(f'{file}: is not of a study')
    return value


def without_places(value: Any) -> Any:
    """A config without ``data_root``: which data they are their digest says, and they may lie elsewhere."""
    if isinstance(value, dict):
        return {key: without_places(item) for key, item in value.items() if key != 'data_root'}
    if isinstance(value, list):
        return [without_places(item) for item in value]
    return value


def _weights(study: Study, variant: Variant, files: FileDigests) -> dict[str, str]:
    """Digests of the files that a training starts from."""
    found = {}
    if study.pretrained is not None:
        found['pretrained'] = files.of(study.pretrained)
    for key in ('load_from', 'init_from'):
        path = variant.config.get(key)
        if path and Path(path).is_file():
            found[key] = files.of(path)
    backbone = variant.config.model.get('backbone') or {}
    named = backbone.get('pretrained') or (backbone.get('init_cfg') or {}).get('checkpoint')
    if study.pretrained is None and isinstance(named, str) and Path(named).is_file():
        found['backbone'] = files.of(named)
    return found
