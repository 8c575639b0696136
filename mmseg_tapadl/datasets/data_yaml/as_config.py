"""A description of data as configs of data sets."""

import os
from typing import Any

from mmseg_tapadl.datasets.data_yaml.description import Description
from mmseg_tapadl.datasets.data_yaml.layout import Layout
from mmseg_tapadl.datasets.data_yaml.pictures import ANY_PICTURE, Source
from mmseg_tapadl.utils.colours import distinct_colours

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='MappedLoadAnnotations'), dict(type='PackSegInputs')]


def datasets_of(description: Description) -> dict[str, dict[str, Any]]:
    """The config of a data set for each split that is described, with a pipeline that loads and changes nothing."""
    layout = Layout(description)
    return {split: _dataset(description, layout, split) for split in description.splits}


def _dataset(description: Description, layout: Layout, split: str) -> dict[str, Any]:
    lines = {key: description.line(key) for key in (split, 'masks', 'classes')}
    dataset: dict[str, Any] = dict(
        type='PictureMaskDataset',
        data_root=layout.data_root,
        split=split,
        sources=[_source(source) for _, source in layout.sources(split)],
        labels=description.labels(),
        metainfo=dict(classes=description.names, palette=palette_of(description)),
        described_in=dict(file=os.path.abspath(description.file), **lines),
        pipeline=[dict(step) for step in PIPELINE],
    )
    if description.pictures != ANY_PICTURE:
        dataset['pictures'] = description.pictures
    if split != 'train':
        dataset['test_mode'] = True
    return dataset


def palette_of(description: Description) -> list[list[int]]:
    """RGB of each class; those that the file gives none get one that no other has."""
    given = [list(entry.colour) if entry.colour else None for entry in description.classes]
    free = (colour for colour in distinct_colours(2 * len(given)) if colour not in given)
    return [next(free) if colour is None else colour for colour in given]


def _source(source: Source) -> dict[str, str]:
    written = dict(images=source.images)
    if source.masks is not None:
        written['masks'] = source.masks
    if source.list_file is not None:
        written |= dict(list_file=source.list_file, lines_from=source.lines_from)
    return written
