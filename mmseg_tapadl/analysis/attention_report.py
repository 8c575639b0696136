"""The whole attention report: models, pictures and corruptions in, ``attention.json``, ``.csv`` and ``.html`` out."""

import copy
import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, barrier, get_rank, get_world_size, init_dist, is_main_process
from mmengine.registry import init_default_scope
from mmseg.utils import register_all_modules
from tqdm import tqdm

from mmseg_tapadl.agreement import check_agreement, scored_void
from mmseg_tapadl.analysis.analysed_model import AnalysedModel
from mmseg_tapadl.analysis.attention_page import write_page
from mmseg_tapadl.analysis.picture_analysis import PictureResult, Request, analyse_picture, survey
from mmseg_tapadl.analysis.pictures import CHANNEL_ORDER, SEED, DataPictures, FilePictures, Pictures
from mmseg_tapadl.analysis.summary import drops_of, layers_of, write_csv
from mmseg_tapadl.datasets.corruptions import check_cell, warm_up
from mmseg_tapadl.engine.launching import prepare_processes
from mmseg_tapadl.evaluation.robustness_presets import Cell
from mmseg_tapadl.inference.sources import find_pictures
from mmseg_tapadl.layers import WatchableAttention
from mmseg_tapadl.layers.attention_watch import chosen_positions
from mmseg_tapadl.utils import InputError, shown, write_json
from mmseg_tapadl.version import __version__

SHOWN = 4
"""Pictures on the page."""
THRESHOLD = 2.0
RESULT_FILES = ('attention.json', 'attention.csv', 'attention.html')


@dataclass(frozen=True)
class ModelFiles:
    """A model by its files.

    Attributes:
        config: As :func:`mmseg_tapadl.engine.config.load_config` reads it.
        checkpoint: Its weights.
    """

    config: Config
    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What to report on.

    Attributes:
        out: Folder for the three files.
        images: Pictures, or folders of pictures.
        data: A data set, as :func:`~mmseg_tapadl.datasets.named_data.read_data` takes it, in place of ``images``.
        limit: Its first pictures; ``None``: all.
        corruptions: Names of corruptions.
        severities: 1 to 5, each of each corruption.
        layers: Numbers of the attentions, in the order of the forward pass, negative from the end; ``None``: all.
        heads: Numbers of the heads whose look is shown; ``None``: all. All are measured.
        point: x and y of a pixel of the shown pictures; ``None``: their middle.
        device: ``'cpu'``, ``'cuda:0'``, ...; ``None``: a GPU where there is one.
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``.

    Raises:
        InputError: No or two sources of pictures, an unknown corruption or severity, a limit below 1, an ``out`` that is
            no folder.
    """

    out: Path
    images: Sequence[str] = ()
    data: str | None = None
    limit: int | None = None
    corruptions: Sequence[str] = ()
    severities: Sequence[int] = (3,)
    layers: Sequence[int] | None = None
    heads: Sequence[int] | None = None
    point: tuple[float, float] | None = None
    device: str | None = None
    launcher: str = 'none'

    def __post_init__(self) -> None:
        if bool(self.images) == bool(self.data):
            raise InputError('give pictures, or --data with the folder of a data set, and not both')
        if self.limit is not None and (self.limit < 1 or not self.data):
            raise InputError(f'--limit {self.limit}: goes with --data, and must be 1 or more')
        for cell in self.cells:
            check_cell(*cell)
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f'--out {shown(self.out)}: is a file; name a folder')

    @property
    def cells(self) -> list[Cell]:
        """Each corruption at each severity, once."""
        return list(
            dict.fromkeys(Cell(name, level) for name in self.corruptions for level in self.severities)
        )

    @property
    def shown_cell(self) -> Cell | None:
        """The first corruption at its highest severity: its maps are shown beside the clean ones."""
        if not self.cells:
            return None
        return max(
            (cell for cell in self.cells if cell.corruption == self.corruptions[0]), key=lambda c: c.severity
        )


def report_attention(
    models: Sequence[ModelFiles],
    options: ReportOptions,
    *,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measures, and writes the three files once all is measured.

    Args:
        models: One, or several to be compared on the same pictures.
        options: What to report on.
        say: Told what there is to tell, in the main process.

    Returns:
        The content of ``attention.json``.

    Raises:
        InputError: A model, picture, layer, head or point that cannot be used, or models whose grids of tokens differ.
    """
    for note in start_processes(models[0].config, options.launcher):
        say(note)
    found: list[list[PictureResult]] = []
    entries: list[dict[str, Any]] = []
    names = distinct_names([Path(files.config.filename or 'model').stem for files in models])
    plans: list[Plan] = []
    if len(models) > 1:  # each is looked at before any is measured
        for files, name in zip(models, names, strict=True):
            model = AnalysedModel(files.config, files.checkpoint, name=name, device=options.device)
            plans.append(plan_for(model, pictures_of(files.config, options), options, surveys=True))
            check_same_grids([plan.facts for plan in plans], names)
    if options.cells:
        warm_up(tuple(cell.corruption for cell in options.cells))
    for number, (files, name) in enumerate(zip(models, names, strict=True)):
        config = files.config
        pictures = pictures_of(config, options)
        model = AnalysedModel(config, files.checkpoint, name=name, device=options.device)
        plan = plans[number] if plans else plan_for(model, pictures, options)
        request = request_for(model, pictures, options, plan, say)
        results = measure(model, pictures, request)
        found.append(results)
        drops = drops_of(results)
        entries.append(
            {
                'name': name,
                'config': config.filename,
                'checkpoint': model.checkpoint,
                'encoder': type(model.encoder).__name__,
                'layers': layers_of(results, model.classes),
                'pictures': [
                    {
                        'path': shown(result.path),
                        'mIoU': {cell.name: value for cell, value in result.miou.items()},
                        'drop': None if drops is None or np.isnan(drops[place]) else drops[place],
                    }
                    for place, result in enumerate(results)
                ],
            }
        )
        del model  # before the next is built
        gc.collect()
    content = {
        'models': entries,
        'pictures': len(found[0]),
        'cells': [cell.name for cell in options.cells],
        'threshold': THRESHOLD,
        'seed': SEED,
        'channel_order': CHANNEL_ORDER,
        'toolkit_version': __version__,
    }
    if is_main_process():
        write_json(options.out / RESULT_FILES[0], content)
        write_csv(entries, options.out / RESULT_FILES[1])
        write_page(
            content,
            options.out / RESULT_FILES[2],
            maps=[[result for result in results if result.maps] for results in found],
            shown_cell=options.shown_cell,
            heads=options.heads,
        )
        say('\n'.join(f'wrote {shown(options.out / name)}' for name in RESULT_FILES))
    barrier()
    return content


def start_processes(config: Config, launcher: str) -> list[str]:
    """Starts the processes of a launcher; returns what there is to tell."""
    notes = prepare_processes(copy.deepcopy(config), launcher)
    if launcher != 'none' and not torch.distributed.is_initialized():
        init_dist(launcher, **(config.get('env_cfg') or {}).get('dist_cfg', {}))
    return notes


def pictures_of(config: Config, options: ReportOptions) -> Pictures:
    """The pictures as the pipeline of a config brings them to its model."""
    register_all_modules(init_default_scope=False)
    init_default_scope(config.get('default_scope', 'mmseg'))
    if options.data:
        return DataPictures(config, options.data, options.limit)
    paths = [path for image in options.images for path in find_pictures(image)[1]]
    return FilePictures(config, list(dict.fromkeys(map(os.fspath, paths))))


@dataclass(frozen=True)
class Plan:
    """What of a model is measured.

    Attributes:
        layers: Numbers of its attentions; ``None``: all.
        last: Number of the last of them.
        facts: Of each of them (see :class:`LayerValues`), where they were looked at.
    """

    layers: list[int] | None
    last: int
    facts: list[dict[str, Any]]


def plan_for(
    model: AnalysedModel, pictures: Pictures, options: ReportOptions, *, surveys: bool = False
) -> Plan:
    """Compares the choice of layers and heads with what the first picture passes.

    Args:
        model: The model.
        pictures: As its pipeline brings them to it.
        options: What to report on.
        surveys: Whether the first picture is passed also where nothing was chosen.

    Raises:
        InputError: A layer or a head that there is not.
    """
    if options.layers is None and options.heads is None and not surveys:
        attentions = sum(isinstance(module, WatchableAttention) for module in model.encoder.modules())
        return Plan(None, attentions - 1, [])
    facts = survey(model, pictures)
    layers = None
    if options.layers is not None:
        layers = sorted(chosen_positions(options.layers, len(facts), type(model.encoder).__name__))
        facts = [facts[layer] for layer in layers]
    check_heads(facts, options.heads or (), model.name)
    return Plan(layers, facts[-1]['layer'], facts)


def request_for(
    model: AnalysedModel,
    pictures: Pictures,
    options: ReportOptions,
    plan: Plan,
    say: Callable[[str], None],
) -> Request:
    """What is asked of each picture, after the data set was compared with the model."""
    ignore_index = 255
    if isinstance(pictures, DataPictures):
        for note in check_agreement(
            pictures.config, ('test',), weights=model.checkpoint, trained=model.trained
        ):
            say(note)
        ignore_index = scored_void(pictures.config)
    return Request(
        cells=options.cells,
        layers=plan.layers,
        ignore_index=ignore_index,
        point=options.point,
        shown_cell=options.shown_cell,
        last=plan.last,
    )


def measure(model: AnalysedModel, pictures: Pictures, request: Request) -> list[PictureResult]:
    """Measures this process's share of the pictures; returns those of all processes, in the order of the pictures."""
    on_page = set(np.linspace(0, len(pictures) - 1, min(SHOWN, len(pictures))).round().astype(int).tolist())
    rank = get_rank()
    share = range(rank, len(pictures), get_world_size())
    mine = [
        analyse_picture(model, pictures, index, request, is_shown=index in on_page)
        for index in tqdm(
            share, unit='picture', desc=model.name, dynamic_ncols=True, disable=rank != 0 or len(pictures) < 2
        )
    ]
    results = [result for part in all_gather_object(mine) for result in part]
    results.sort(key=lambda result: result.index)
    counts = {len(next(iter(result.layers.values()))) for result in results}
    if len(counts) > 1:
        raise InputError(
            f'{model.name}: pictures pass {min(counts)} to {max(counts)} attentions; they cannot be averaged'
        )
    return results


def check_same_grids(surveys: Sequence[Sequence[dict[str, Any]]], names: Sequence[str]) -> None:
    """Raises ``InputError`` where models of a comparison have their tokens on other grids."""

    def grids(facts: Sequence[dict[str, Any]]) -> list[str]:
        told = [f'{one["queries"]} queries over {one["keys"]} keys' for one in facts]
        return list(dict.fromkeys(told))

    first = grids(surveys[0])
    for number, facts in enumerate(surveys[1:], 1):
        if grids(facts) != first:
            raise InputError(
                f'{names[0]} and {names[number]} cannot be compared: their tokens lie on different grids '
                f'({"; ".join(first)} against {"; ".join(grids(facts))}); compare encoders of one patch size'
            )


def check_heads(facts: Sequence[dict[str, Any]], heads: Sequence[int], name: str) -> None:
    """Raises ``InputError`` for a head that a layer does not have."""
    for layer in facts:
        for head in heads:
            if not 0 <= head < layer['heads']:
                raise InputError(
                    f'head {head}: layer {layer["layer"]} of {name} has {layer["heads"]} heads, 0 to {layer["heads"] - 1}'
                )


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that are there already."""
    given: list[str] = []
    for name in names:
        count = 2
        new = name
        while new in given:
            new = f'{name} ({count})'
            count += 1
        given.append(new)
    return given
