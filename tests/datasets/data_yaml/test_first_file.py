"""A folder is looked at, and the file that is written describes what lies there; nothing is overwritten."""

import numpy as np
import pytest
from PIL import Image

from mmseg_tapadl.datasets.data_yaml.first_file import pairs_of, write_first_file
from mmseg_tapadl.datasets.data_yaml.layout import check_layout
from mmseg_tapadl.datasets.data_yaml.reading import read_description
from mmseg_tapadl.utils import InputError
from tests.datasets.data_yaml.painted import COLOURS, paint, paint_written, write

IDS = [0, 3, 255]


def paint_all(root, pairs, values=IDS):
    for number, (picture, mask) in enumerate(pairs):
        paint(root / picture, root / mask, values, seed=number)


def written(root):
    write_first_file(root)
    description = read_description(root / 'data.yaml')
    check_layout(description, description.splits)
    pairs = {
        split: [(pair.picture.path, pair.mask) for pair in found if pair.found]
        for split, found in pairs_of(description).items()
    }
    return description, {
        split: sorted(tuple(path.removeprefix(f'{root}/') for path in pair) for pair in found)
        for split, found in pairs.items()
    }


def by_split(pairs, *numbers):
    return {
        split: sorted(pairs[start:end]) for split, (start, end) in zip(('train', 'val'), numbers, strict=True)
    }


LAYOUTS = {
    'splits': [f'{s}/images/{n}.jpg {s}/masks/{n}.png' for s in ('train', 'val') for n in '12'],
    'a mask beside its picture': [
        f'{s}/{n} x.jpg:{s}/{n} x_mask.png' for s in ('training', 'valid') for n in '12'
    ],
    'CamVid': [f'{s}/0001_{n}.png {s}annot/0001_{n}.png' for s in ('train', 'val') for n in '12'],
    'Cityscapes': [
        f'leftImg8bit/{s}/{c}/{c}_0_leftImg8bit.png gtFine/{s}/{c}/{c}_0_gtFine_labelTrainIds.png'
        for s in ('train', 'val')
        for c in ('bonn', 'ulm')
    ],
    'other names': [
        f'{s}/img/frame_{n}.png {s}/sem/label-{n}.png' for s in ('train', 'val') for n in ('007', '070')
    ],
    'splits in the names of folders': [
        f'images_{s}/{n}.jpg masks_{s}/{n}.png' for s in ('train', 'val') for n in '12'
    ],
    'images and masks over the splits': [
        f'images/{s}/{n}.jpg masks/{s}/{n}.png' for s in ('train', 'val') for n in ('a', 'b')
    ],
}


@pytest.mark.parametrize('name', LAYOUTS)
def test_layouts(name, tmp_path):
    pairs = [tuple(text.split(':' if ':' in text else ' ')) for text in LAYOUTS[name]]
    paint_all(tmp_path, pairs)
    description, found = written(tmp_path)
    assert found == by_split(pairs, (0, 2), (2, 4))
    assert [list(entry.values) for entry in description.classes] == [[0], [3]] and list(
        description.ignore
    ) == [255]


def test_of_several_masks_the_ids(tmp_path):
    """BDD100K's colour maps lie beside its masks, Cityscapes' numbers of objects beside its ids."""
    for split in ('train', 'val'):
        paint(tmp_path / f'images/10k/{split}/a.jpg', tmp_path / f'labels/sem_seg/masks/{split}/a.png', IDS)
        paint(tmp_path / 'x.png', tmp_path / f'labels/sem_seg/colormaps/{split}/a.png', COLOURS)
        Image.fromarray(np.zeros((48, 64), np.uint16)).save(
            tmp_path / f'labels/sem_seg/masks/{split}/a_instanceIds.png'
        )
    (tmp_path / 'x.png').unlink()
    description, found = written(tmp_path)
    assert found['train'] == [('images/10k/train/a.jpg', 'labels/sem_seg/masks/train/a.png')]
    assert [list(entry.values) for entry in description.classes] == [[0], [3]]


def test_masks_in_the_folder_of_the_pictures(tmp_path):
    """No splits, and all in the folder itself, in which the file and its sheet then lie."""
    pairs = [(f'{n}.jpg', f'{n}_L.png') for n in range(5)]
    paint_all(tmp_path, pairs)
    Image.new('RGB', (30, 30)).save(tmp_path / 'data.jpg')
    _, found = written(tmp_path)
    assert found == {'train': pairs[:4], 'val': pairs[4:]}


def test_no_splits(tmp_path):
    pairs = [(f'seq{n % 2}/rgb/{n:02}.jpg', f'seq{n % 2}/sem/{n:02}.png') for n in range(10)]
    paint_all(tmp_path, pairs)
    _, found = written(tmp_path)
    ordered = sorted(pairs)
    assert found == {
        'train': [p for n, p in enumerate(ordered) if n % 5 != 4],
        'val': [ordered[4], ordered[9]],
    }
    assert (tmp_path / 'data_val.txt').read_text() == f'{ordered[4][0]}\n{ordered[9][0]}\n'


def test_lists_that_are_there(tmp_path):
    pairs = [(f'JPEGImages/{n}.jpg', f'SegmentationClass/{n}.png') for n in 'abcd']
    paint_all(tmp_path, pairs)
    write(tmp_path / 'ImageSets/train.txt', 'a\nc\nd\n')
    write(tmp_path / 'ImageSets/val.txt', 'b\n')
    description, found = written(tmp_path)
    assert found == {'train': [pairs[0], pairs[2], pairs[3]], 'val': [pairs[1]]}
    assert description.images == 'JPEGImages' and not list(tmp_path.glob('*.txt'))


def test_colours_with_their_counts(tmp_path):
    paint_written(tmp_path)
    (tmp_path / 'data.yaml').unlink()
    description, found = written(tmp_path)
    assert {split: len(pairs) for split, pairs in found.items()} == {'train': 3, 'val': 2}
    assert description.colors and {entry.colour for entry in description.classes} == set(COLOURS[:3])
    assert list(description.ignore) == [0]
    pixels = np.concatenate(
        [np.array(Image.open(mask)).reshape(-1, 3) for mask in tmp_path.rglob('*_mask.png')]
    )
    share = 100 * (pixels == COLOURS[1]).all(1).mean()
    line = next(line for line in (tmp_path / 'data.yaml').read_text().splitlines() if '[60, 40, 222]' in line)
    assert f'# {share:.2f} %, in 5 of 5 masks' in line


@pytest.mark.parametrize('kind', ['palette', 'black and white', 'grey as colours'])
def test_ids_in_other_files(kind, tmp_path):
    paint_all(tmp_path, [(f'train/i/{n}.jpg', f'train/m/{n}.png') for n in '12'], [0, 255])
    for mask in (tmp_path / 'train/m').iterdir():
        image = Image.open(mask)
        if kind == 'palette':
            image = image.convert('P')
            image.putpalette([7, 8, 9] * 256)
        image = {'black and white': image.convert('1'), 'grey as colours': image.convert('RGB')}.get(
            kind, image
        )
        image.save(mask)
    description, _ = written(tmp_path)
    ids = [0, 1] if kind == 'black and white' else [0, 255]
    assert [list(entry.values) for entry in description.classes] == [[number] for number in ids]
    assert not description.colors and (kind != 'palette' or description.classes[0].colour == (7, 8, 9))


def test_nothing_is_overwritten(tmp_path):
    paint_all(tmp_path, [(f'i/{n}.jpg', f'm/{n}.png') for n in range(5)])
    write(tmp_path / 'data_val.txt', 'mine')
    with pytest.raises(InputError, match=r'data_val\.txt: is there already'):
        write_first_file(tmp_path)
    assert not (tmp_path / 'data.yaml').exists() and (tmp_path / 'data_val.txt').read_text() == 'mine'
    write_first_file(tmp_path, overwrite=True)
    before = (tmp_path / 'data.yaml').read_bytes()
    with pytest.raises(InputError, match=r'data\.yaml: is there already'):
        write_first_file(tmp_path)
    noise = np.random.default_rng(0).integers(0, 255, (48, 64), np.uint8)
    for mask in (tmp_path / 'm').iterdir():
        Image.fromarray(noise // 5).save(mask)
    Image.fromarray(noise).save(mask)
    with pytest.raises(InputError, match='more than there are classes'):
        write_first_file(tmp_path, overwrite=True)
    assert (tmp_path / 'data.yaml').read_bytes() == before


@pytest.mark.parametrize(
    ('pairs', 'told'),
    [
        ([], 'no such folder'),
        ([('i/1.jpg', 'n/1.jpg')], 'no masks'),
        ([('i/one.jpg', 'm/2.png')], 'no mask has the name of its picture'),
    ],
)
def test_folders_that_are_not_understood(pairs, told, tmp_path):
    paint_all(tmp_path / 'data', pairs)
    with pytest.raises(InputError, match=told):
        write_first_file(tmp_path / 'data')
    assert not list(tmp_path.rglob('*.yaml')) and not list(tmp_path.rglob('*.txt'))
