"""Polygons of COCO annotations as masks of ids, one PNG a picture, for a ``data.yaml``.

Smaller objects lie over larger ones. Everything is read and checked before anything is written; every file takes its name
only when it is whole, so a run can be stopped and repeated.
"""

import contextlib
import io
import json
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmseg_tapadl.datasets.data_yaml.coding import IGNORED
from mmseg_tapadl.utils import InputError, atomic_write, shown

# Three corners.
_FEWEST_NUMBERS = 6


@dataclass(frozen=True)
class CocoMasks:
    """What was written.

    Attributes:
        names: Name of each id in the masks.
        written: Masks.
        objects: Objects drawn.
        passed_over: Objects of less than three corners, or without any.
    """

    names: dict[int, str]
    written: int
    objects: int
    passed_over: int


def convert_coco(
    annotations: str | os.PathLike,
    target: str | os.PathLike,
    *,
    background: int = IGNORED,
    progress: bool = True,
) -> CocoMasks:
    """Writes the masks of all pictures that a file of annotations names, also of those without objects.

    Args:
        annotations: COCO JSON of instances or stuff; polygons and run lengths.
        target: The folder to write into: ``<folder of file_name>/<its stem>.png``.
        background: The id of pixels of no object.
        progress: Show a bar.

    Returns:
        The ids' names and how much was written. Ids are those of the categories where 8 bits hold them and
        ``background`` is none of them; else they count from 0 in the order of the categories' ids.

    Raises:
        InputError: No COCO file, names that lead out of the folder or meet, a mask that is there with other content,
            or pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise InputError('polygons need pycocotools: pip install "mmseg_tapadl[coco]"') from error
    content = _read(Path(annotations))
    ids, names = _ids(content, background, Path(annotations))
    targets = _targets(content, Path(target), Path(annotations))
    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    by_image: dict[Any, list[dict]] = defaultdict(list)
    for annotation in content['annotations']:
        by_image[annotation['image_id']].append(annotation)
    drawn = passed_over = 0
    for image in tqdm(content['images'], desc='masks', unit='mask', disable=not progress):
        mask = np.full((image['height'], image['width']), background, np.uint8)
        areas = []
        for annotation in by_image[image['id']]:
            whole = _whole(annotation)
            if whole is None:
                passed_over += 1
                continue
            area = coco.annToMask(whole).astype(bool)
            areas.append((int(area.sum()), annotation['category_id'], area))
        for _, category, area in sorted(areas, key=lambda item: -item[0]):
            mask[area] = ids[category]
        drawn += len(areas)
        _write(targets[image['id']], mask)
    return CocoMasks(names, len(targets), drawn, passed_over)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f'{shown(file)}: cannot be read as JSON: {reason}') from error
    wanted = {
        'images': ('id', 'file_name', 'height', 'width'),
        'annotations': ('image_id', 'category_id'),
        'categories': ('id', 'name'),
    }
    for key, fields in wanted.items():
        items = content.get(key) if isinstance(content, dict) else None
        if not isinstance(items, list) or (not items and key != 'annotations'):
            raise InputError(f'{shown(file)}: is no file of COCO annotations: it has no list of {key}')
        for number, item in enumerate(items):
            missing = [field for field in fields if not isinstance(item, dict) or field not in item]
            if missing:
                raise InputError(f'{shown(file)}: {key}[{number}] has no {missing[0]}')
    images, categories = ({item['id'] for item in content[key]} for key in ('images', 'categories'))
    for number, annotation in enumerate(content['annotations']):
        for key, known in (('image_id', images), ('category_id', categories)):
            if annotation[key] not in known:
                raise InputError(
                    f'{shown(file)}: annotations[{number}].{key} is {annotation[key]}, which nothing has'
                )
        annotation.setdefault('id', number + 1)
    return content


def _ids(content: dict[str, Any], background: int, file: Path) -> tuple[dict[int, int], dict[int, str]]:
    """The id of each category in the masks, and the names by id."""
    categories = sorted(content['categories'], key=lambda category: category['id'])
    numbers = [category['id'] for category in categories]
    fits = all(
        isinstance(number, int) and 0 <= number < IGNORED and number != background for number in numbers
    )
    free = [number for number in range(IGNORED) if number != background]
    if not fits and len(numbers) > len(free):
        raise InputError(f'{shown(file)}: has {len(numbers)} categories, more than masks of 8 bits hold')
    ids = {number: number if fits else free[place] for place, number in enumerate(numbers)}
    return ids, {ids[category['id']]: str(category['name']) for category in categories}


def _targets(content: dict[str, Any], folder: Path, file: Path) -> dict[Any, Path]:
    targets: dict[Any, Path] = {}
    owners: dict[Path, str] = {}
    for image in content['images']:
        name = os.path.normpath(str(image['file_name']))
        if os.path.isabs(name) or name.startswith('..'):
            raise InputError(
                f'{shown(file)}: the file_name {shown(name)} leads out of the folder of the pictures'
            )
        target = folder / Path(name).with_suffix('.png')
        if target in owners:
            raise InputError(
                f'{shown(file)}: {shown(owners[target])} and {shown(name)} would have one mask {shown(target)}'
            )
        owners[target] = name
        targets[image['id']] = target
    return targets


def _whole(annotation: dict[str, Any]) -> dict[str, Any] | None:
    """An object with the polygons of at least three corners only; None where nothing of it can be drawn."""
    shape = annotation.get('segmentation')
    if isinstance(shape, dict):
        return annotation
    polygons = [polygon for polygon in shape or () if len(polygon) >= _FEWEST_NUMBERS]
    return {**annotation, 'segmentation': polygons} if polygons else None


def _write(target: Path, mask: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format='PNG')
    data = file.getvalue()
    if target.exists():
        if target.read_bytes() != data:
            raise InputError(f'{shown(target)}: is there with other content; write into another folder')
        return
    with atomic_write(target) as out:
        out.write(data)
