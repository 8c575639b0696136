"""Pictures for the report: input, prediction and label of a few pictures of a cell."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmseg_tapadl.evaluation.overlay import colour_labels
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.evaluation.seen_pictures import SeenPictures
from mmseg_tapadl.robustness.cell_data import loader_for
from mmseg_tapadl.robustness.sweep import Sweep

_WIDTH = 420


@dataclass(frozen=True)
class Example:
    """One picture of a cell, as data URIs of small pictures.

    Attributes:
        name: The picture's file name.
        picture: As the model saw it, JPEG.
        prediction: In the classes' colours, PNG.
        label: In the classes' colours, PNG; unlabelled pixels black.
    """

    name: str
    picture: str
    prediction: str
    label: str


def best_and_worst(records: dict[Cell, dict]) -> tuple[Cell, Cell]:
    """The corrupted cells of the highest and of the lowest mIoU; of equals the first."""
    corrupted = [cell for cell in records if cell != CLEAN]
    return (
        max(corrupted, key=lambda cell: records[cell]['mIoU']),
        min(corrupted, key=lambda cell: records[cell]['mIoU']),
    )


@torch.no_grad()
def examples_of(sweep: Sweep, cell: Cell, count: int = 2) -> list[Example]:
    """Predicts a few pictures, spread evenly over the data set, as the sweep did."""
    dataset = sweep.dataset(cell)
    chosen = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    palette = sweep.clean.metainfo['palette']
    return [_example(sweep, dataset, int(index), palette) for index in chosen]


def _example(sweep: Sweep, dataset: Any, index: int, palette: Sequence[Sequence[int]]) -> Example:
    chosen = torch.utils.data.Subset(dataset, [index])
    (batch,) = loader_for(chosen, batch_size=1, num_workers=0)
    ((_, sample, _),) = sweep.model.answers(batch)
    picture = SeenPictures(dataset).picture(sample.img_path)
    predicted = sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.int64)
    labelled = sample.gt_sem_seg.data.squeeze(0).cpu().numpy().astype(np.int64)
    name = dataset.get_data_info(index)['img_path'].replace('\\', '/').rsplit('/', 1)[-1]
    return Example(
        name=name,
        picture=_data_uri(picture, Image.Resampling.BILINEAR, 'JPEG'),
        prediction=_data_uri(colour_labels(predicted, palette), Image.Resampling.NEAREST, 'PNG'),
        label=_data_uri(colour_labels(labelled, palette), Image.Resampling.NEAREST, 'PNG'),
    )


def _data_uri(picture: np.ndarray, resampling: Image.Resampling, kind: str) -> str:
    image = Image.fromarray(np.ascontiguousarray(picture[..., ::-1]))
    if image.width > _WIDTH:
        image = image.resize((_WIDTH, max(1, round(image.height * _WIDTH / image.width))), resampling)
    buffer = io.BytesIO()
    if kind == 'PNG':
        image.quantize(256).save(buffer, 'PNG', optimize=True)
    else:
        image.save(buffer, 'JPEG', quality=85)
    return f'data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}'
