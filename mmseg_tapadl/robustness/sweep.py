"""The sweep: one model over every cell of a preset, each finished cell saved at once."""

import importlib.metadata
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset
from tqdm import tqdm

from mmseg_tapadl.agreement import scored_void
from mmseg_tapadl.datasets.acdc import condition_of
from mmseg_tapadl.datasets.corruptions import picture_identity, warm_up
from mmseg_tapadl.evaluation.confidence import ConfidenceCounts
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell, select_cells
from mmseg_tapadl.inference.temperature import Temperature, read_temperature
from mmseg_tapadl.robustness.bootstrap import BOOTSTRAP_VERSION
from mmseg_tapadl.robustness.cell_data import (
    check_pregenerated,
    dataset_for_cell,
    loader_for,
    picture_paths,
)
from mmseg_tapadl.robustness.cell_details import CellDetails
from mmseg_tapadl.robustness.cell_runner import cell_record, rank_and_processes, run_cell
from mmseg_tapadl.robustness.cell_store import CellStore
from mmseg_tapadl.robustness.measured_model import MeasuredConfig, MeasuredModel
from mmseg_tapadl.robustness.results import check_defined
from mmseg_tapadl.robustness.small_pictures import sample_of
from mmseg_tapadl.utils import InputError, shown
from mmseg_tapadl.utils.config_values import digest_of
from mmseg_tapadl.version import __version__

# A change of any of these may change a pixel or a prediction.
_LIBRARIES = (
    *('torch', 'numpy', 'scipy', 'scikit-image', 'opencv-python', 'pillow', 'numba'),
    *('imagecorruptions-imaug', 'onedl-mmsegmentation', 'onedl-mmcv', 'onedl-mmengine', 'timm'),
)


# 2: confusion, confidence and small pictures. Cells without them cannot be put beside those that have them.
CELL_FORMAT = 2


@dataclass(frozen=True)
class SweepOptions:
    """What to measure.

    Attributes:
        checkpoint: Path of the weights of a config; None for a model that is not told by a config.
        work_dir: Where cells and results go.
        preset: A key of :data:`~mmseg_tapadl.evaluation.robustness_presets.PRESETS`.
        corruptions: Only these, None for the preset's.
        severities: Only these, None for the preset's.
        seed: Of the random corruptions.
        channel_order: ``'bgr'`` or ``'rgb'``.
        pregenerated: A pre-generated Cityscapes-C to read corrupted pictures from, None to make them.
        fresh: Throw the cells of a former sweep away.
        temperature: Of the probabilities, a number or a file of ``tools/calibrate.py``; None: as the model gives them.
        pictures: Ends of names of pictures of which small copies are kept for comparisons, however many there are.
    """

    checkpoint: str | None
    work_dir: Path
    preset: str = 'cityscapes-c'
    corruptions: list[str] | None = None
    severities: list[int] | None = None
    seed: int = 0
    channel_order: str = 'bgr'
    pregenerated: str | None = None
    fresh: bool = False
    temperature: float | str | os.PathLike | None = None
    pictures: Sequence[str] = ()

    def cells(self) -> list[Cell]:
        """The cells, without the clean one."""
        return select_cells(self.preset, corruptions=self.corruptions, severities=self.severities)


@dataclass
class Sweep:
    """A sweep that is ready to run, or has run.

    Attributes:
        model: What is measured; built when first needed.
        options: What to measure.
        clean: The data set without corruption.
        store: The finished cells.
        temperature: Of the probabilities; None: as the model gives them.
        records: Those of this sweep, by cell; complete after :meth:`run`.
        skipped: How many cells were there already.
    """

    model: MeasuredModel
    options: SweepOptions
    clean: Any
    store: CellStore
    temperature: Temperature | None = None
    records: dict[Cell, dict] = field(default_factory=dict)
    skipped: int = 0

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.clean.metainfo['classes'])

    @property
    def cells(self) -> list[Cell]:
        """All cells in the order of measuring; the clean one first."""
        return [CLEAN, *self.options.cells()]

    @property
    def shown_cells(self) -> list[Cell]:
        """Those of which small pictures are kept: the clean one, and each corruption at its highest severity."""
        highest = {cell.corruption: cell for cell in sorted(self.cells)}
        return [cell for cell in self.cells if cell == highest[cell.corruption]]

    @cached_property
    def names(self) -> list[str]:
        """What names each picture, wherever the data set lies."""
        return picture_names(self.clean)

    @cached_property
    def sample(self) -> frozenset[int]:
        """Numbers of the pictures of which small copies are kept in any case: a sample, and those that were named.

        Raises:
            InputError: When no picture has a name that was given.
        """
        found = set(sample_of(len(self.clean)))
        for end in self.options.pictures:
            named = {index for index, name in enumerate(self.names) if name.endswith(end)}
            if not named:
                raise InputError(
                    f'--pictures {shown(end)}: no picture of the test data has a name that ends so'
                )
            found |= named
        return frozenset(found)

    @cached_property
    def conditions(self) -> list[str]:
        """The condition of each picture, as in ACDC; empty where a picture lies in no folder of a condition."""
        found = [condition_of(name) for name in self.names]
        return [name for name in found if name] if all(found) else []

    def dataset(self, cell: Cell) -> Dataset:
        """The pictures of a cell."""
        return dataset_for_cell(
            self.model.config.test_dataloader.dataset,
            cell,
            seed=self.options.seed,
            channel_order=self.options.channel_order,
            pregenerated=self.options.pregenerated,
        )

    def run(self, say: Callable[[str], None] = print) -> None:
        """Measures every cell that is not finished yet.

        Args:
            say: Told how many cells were skipped, and each cell's score.

        Raises:
            SampleError: When a picture or label cannot be used; finished cells are kept.
            ResultError: When no pixel of the data is labelled.
        """
        # One process looks and tells the others, or they might not agree on what is left.
        found = [self._finished() if is_main_process() else {}]
        broadcast_object_list(found)
        self.records = found[0]
        self.skipped = len(self.records)
        left = [cell for cell in self.cells if cell not in self.records]
        if self.skipped:
            say(f'skipped {self.skipped} finished cells of {len(self.cells)}, {len(left)} left')
        if not left:
            return
        self.model.prepare()
        warm_up(tuple(cell.corruption for cell in left))
        rank, processes = rank_and_processes()
        share = sum(len(batch) for batch in self._loader(self.clean, rank, processes).batch_sampler)
        with tqdm(
            total=share * len(left),
            unit='picture',
            dynamic_ncols=True,
            disable=rank != 0,
            smoothing=0.05,
            # A log file gets a line now and then, a person's screen a moving bar.
            mininterval=0.2 if sys.stderr.isatty() else 15.0,
        ) as progress:
            for cell in left:
                progress.set_description(cell.name.replace('_', ' '))
                start = time.perf_counter()
                result = run_cell(
                    self.model,
                    self._loader(self.dataset(cell), rank, processes),
                    classes=self.classes,
                    ignore_index=self.ignore_index,
                    temperature=self.temperature and self.temperature.value,
                    void_source=self.model.void_source,
                    conditions=self.conditions if cell == CLEAN else (),
                    names=self.names,
                    sample=self.sample if cell in self.shown_cells else None,
                    on_pictures=progress.update,
                )
                record = cell_record(cell, result, self.classes, time.perf_counter() - start)
                if is_main_process():
                    details = CellDetails(result.counts.known_confidence, result.pictures)
                    self.store.save_details(cell, details)
                    self.store.save(cell, record)
                self.records[cell] = record
                # Not after all cells: what is missing in one is missing in all.
                check_defined({cell: record})
                if is_main_process():
                    score = 'undefined' if record['mIoU'] is None else f'{record["mIoU"]:6.2f}'
                    progress.write(f'{cell.name.replace("_", " "):<22} mIoU {score}')
        # In their order, whichever of them had been there.
        self.records = {cell: self.records[cell] for cell in self.cells}

    def _finished(self) -> dict[Cell, dict]:
        """The records that are there; a cell whose details are gone, or lack a picture, is measured again."""
        found = {cell: self.store.load(cell) for cell in self.cells}
        return {cell: record for cell, record in found.items() if record is not None and self._detailed(cell)}

    def _detailed(self, cell: Cell) -> bool:
        details = self.store.details(cell)
        if details is None or cell not in self.shown_cells:
            return details is not None
        return self.sample <= {facts['index'] for facts in details.pictures}

    def confidence(self, cell: Cell) -> ConfidenceCounts | None:
        """The counts behind a finished cell's confidence; None where it is not known."""
        details = self.store.details(cell)
        return None if details is None else details.confidence()

    @property
    def ignore_index(self) -> int:
        """The label value that does not count, as a metric of the config says, or else the data set."""
        return scored_void(self.model.config)

    def _loader(self, dataset: Dataset, rank: int, processes: int):
        settings = self.model.config.test_dataloader
        return loader_for(
            dataset,
            batch_size=int(settings.get('batch_size', 1)),
            num_workers=int(settings.get('num_workers', 0)),
            rank=rank,
            processes=processes,
        )


def prepare_sweep(model: MeasuredModel | Config, options: SweepOptions) -> Sweep:
    """Checks everything that can be checked before the model is built, and takes the work dir.

    Args:
        model: What to measure; a config with a ``test_dataloader`` is measured with the checkpoint of the options.
        options: What to measure.

    Raises:
        InputError: For an unknown preset, corruption or severity, a config without test data, data or a
            checkpoint that are missing, a model of other classes.
        SweepMismatch: When the work dir holds another sweep.
    """
    cells = options.cells()
    if isinstance(model, Config):
        model = MeasuredConfig(model, str(options.checkpoint))
    clean = clean_pictures(model)
    if options.pregenerated is not None:
        check_pregenerated(options.pregenerated, clean, model.config.test_dataloader.dataset, cells)
    temperature = _temperature(model, options)
    store = CellStore(options.work_dir, sweep_identity(model, options, clean, temperature))
    sweep = Sweep(model=model, options=options, clean=clean, store=store, temperature=temperature)
    if options.pictures:
        _ = sweep.sample  # names that nobody has are told before the work dir is taken
    if is_main_process():
        store.open(fresh=options.fresh)
    barrier()
    return sweep


def _temperature(model: MeasuredModel, options: SweepOptions) -> Temperature | None:
    if options.temperature is None:
        return None
    temperature = read_temperature(options.temperature)
    temperature.check_weights(model.weights())
    return temperature


def clean_pictures(model: MeasuredModel) -> Any:
    """The test data set of a model without corruption, after everything is checked that can be without building it.

    Raises:
        InputError: For a config without test data, data or a checkpoint that are missing, a model of other classes.
    """
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    init_default_scope(model.config.get('default_scope', 'mmseg'))
    model.check()
    clean = dataset_for_cell(model.config.test_dataloader.dataset, CLEAN, seed=0, channel_order='bgr')
    if len(clean) == 0:
        raise InputError('the test data set of the config holds no picture; check its data_root')
    for note in model.check_classes(list(clean.metainfo.get('classes') or ())):
        if is_main_process():
            print(note, flush=True)
    return clean


def sweep_identity(
    model: MeasuredModel, options: SweepOptions, clean: Any, temperature: Temperature | None = None
) -> dict[str, Any]:
    """All that the numbers of a sweep depend on; two sweeps of equal identity may share cells."""
    return {
        **model.identity(),
        'preset': options.preset,
        'cells': [cell.name for cell in options.cells()],
        'seed': options.seed,
        'channel order': options.channel_order,
        'pre-generated data': options.pregenerated and os.path.abspath(options.pregenerated),
        'pictures': digest_of(picture_names(clean)),
        'bootstrap': BOOTSTRAP_VERSION,
        'cell format': CELL_FORMAT,
        'versions': library_versions(),
        # Only where there is one: cells that were measured before there were any stay good.
        **({'temperature': temperature.value} if temperature else {}),
    }


def picture_names(dataset: Any) -> list[str]:
    """What names each picture of a built data set, wherever it lies."""
    root = getattr(dataset, 'data_root', None)
    return [picture_identity(path, root) for path in picture_paths(dataset)]


def library_versions() -> dict[str, str]:
    """The versions of what makes pixels and predictions."""
    versions = {'mmseg_tapadl': __version__}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
