"""What a model's class ids are called and painted with: from the checkpoint, else from the config's data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.datasets.named_data import SPLITS, Named, name_of, read_splits
from mmseg_tapadl.inference.interface import PicturePredictor
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.colours import distinct_colours
from mmseg_tapadl.utils.dataset_tree import datasets_of_loaders


@dataclass(frozen=True)
class NamesAndColours:
    """What to call and how to paint the class ids.

    Attributes:
        classes: Names, by id.
        palette: RGB of each class, 0 to 255, by id.
    """

    classes: tuple[str, ...]
    palette: list[list[int]]


def names_and_colours(meta: dict, config: Config, num_classes: int) -> NamesAndColours:
    """Finds names and colours, each where it is.

    Args:
        meta: Of the checkpoint.
        config: Describes data sets, of which the first of test, validation and training that knows counts.
        num_classes: Ids that the model predicts; those without a name are called by their number.
    """
    of_file = dataset_meta_of(meta)
    described = map(_described, datasets_of_loaders(config, ('test', 'val', 'train')))
    of_data = next((found for found in described if found), {})
    classes = of_file.get('classes') or of_data.get('classes') or []
    classes = [*classes, *(f'class {number}' for number in range(len(classes), num_classes))]
    palette = of_file.get('palette') or _colours_of(classes, of_data)
    made = distinct_colours(len(classes))
    return NamesAndColours(tuple(classes), [*palette, *made[len(palette) :]][: len(classes)])


def _described(dataset: dict) -> dict[str, list]:
    """Names and colours of a data set's config, by the data set's own rules; its files need not be there."""
    try:
        metainfo = DATASETS.build({**dataset, 'pipeline': [], 'lazy_init': True}).metainfo
    except (
        Exception
    ):  # kinds that are built in another way, or want files; what they say of themselves counts
        kind = DATASETS.get(dataset['type']) if isinstance(dataset['type'], str) else dataset['type']
        metainfo = {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})}
    return dataset_meta_of({'dataset_meta': metainfo})


def _colours_of(classes: Sequence[str], of_data: dict[str, list]) -> list[list[int]]:
    """The data set's colours in the order of ``classes``: by name, or by number where it has as many."""
    palette = of_data.get('palette') or []
    names = of_data.get('classes') or []
    by_name = dict(zip(names, palette, strict=False))
    if all(name in by_name for name in classes):
        return [by_name[name] for name in classes]
    return palette if len(palette) == len(classes) else []


def classes_of(data: Named) -> dict[str, Any]:
    """The names and colours of a data set's classes, as a checkpoint's metadata hold them.

    Raises:
        InputError: There is no such data set, or it tells no classes.
    """
    leaf = datasets_of_loaders(read_splits(data, used=()), SPLITS)[0]
    metainfo = DATASETS.build({**leaf, 'pipeline': [], 'lazy_init': True}).metainfo
    if not metainfo.get('classes'):
        raise InputError(f'--data {name_of(data)}: tells no names of its classes')
    return {'dataset_meta': dict(classes=metainfo['classes'], palette=metainfo.get('palette'))}


def name_classes(predictor: PicturePredictor, data: Named) -> None:
    """Gives a model that tells no names of its classes those of a data set, whose ids it then predicts.

    Raises:
        InputError: As :func:`classes_of`; the model tells another number of names.
    """
    described = classes_of(data)['dataset_meta']
    if predictor.classes is None:
        predictor.classes, predictor.palette = tuple(described['classes']), described['palette']
    elif len(predictor.classes) != len(described['classes']):
        raise InputError(
            f'{predictor.name} tells {len(predictor.classes)} classes apart, but {name_of(data)} has {len(described["classes"])}'
        )
