"""Layouts that people have are found, and what leads nowhere is told with its line."""

import os
import shutil

import pytest

from mmseg_tapadl.datasets.data_yaml.as_config import datasets_of
from mmseg_tapadl.datasets.data_yaml.document import DataYamlError
from mmseg_tapadl.datasets.data_yaml.layout import check_layout
from mmseg_tapadl.datasets.data_yaml.reading import read_description
from mmseg_tapadl.datasets.picture_mask_dataset import PictureMaskDataset
from tests.datasets.data_yaml.painted import COLOURS, paint, paint_written, write

IDS = [0, 1]
TWO = 'classes: [a, b]\n'


def pairs_of(file, split='train') -> list[tuple[str, str]]:
    """Pictures and masks of the built data set, below the folder of the ``data.yaml``."""
    description = read_description(file)
    check_layout(description, description.splits)
    config = {**datasets_of(description)[split], 'pipeline': []}
    config.pop('type')
    dataset = PictureMaskDataset(**config)
    root = os.path.realpath(file.parent)
    return [
        tuple(os.path.relpath(os.path.realpath(entry[key]), root) for key in ('img_path', 'seg_map_path'))
        for entry in (dataset.get_data_info(number) for number in range(len(dataset)))
    ]


def paint_all(root, pairs, values=IDS):
    for number, (picture, mask) in enumerate(pairs):
        paint(root / picture, root / mask, values, seed=number, size=(16, 8))


LAYOUTS = {
    'masks beside pictures': (
        'train: train\nmasks: "{split}/{stem}_mask.png"\n',
        [('train/a.jpg', 'train/a_mask.png'), ('train/b b.JPG', 'train/b b_mask.png')],
    ),
    'masks of the same name in the same folder': (
        'train: train\nmasks: "{split}/{stem}.png"\n',
        [('train/a.jpg', 'train/a.png'), ('train/b.jpg', 'train/b.png')],
    ),
    'a folder of masks by split': (
        'train: images/train\nmasks: masks\n',
        [('images/train/a.jpg', 'masks/train/a.png'), ('images/train/deep/b.jpg', 'masks/train/deep/b.png')],
    ),
    'a folder of masks of all': ('train: pictures\nmasks: labels\n', [('pictures/a.jpg', 'labels/a.bmp')]),
    'a folder in the split': (
        'train: train/rgb\nmasks: "{split}/gt"\n',
        [('train/rgb/a.jpg', 'train/gt/a.tif')],
    ),
    'ultralytics': (
        'path: .\ntrain: images/train\nmasks_dir: semantic\n',
        [('images/train/x/a.jpg', 'semantic/train/x/a.png')],
    ),
    'subfolders': (
        'train: img/train\nmasks: "gt/{split}/{folder}/{stem}_gt.png"\n',
        [
            ('img/train/bonn/1.png', 'gt/train/bonn/1_gt.png'),
            ('img/train/ulm/1.png', 'gt/train/ulm/1_gt.png'),
        ],
    ),
    'names with a common end': (
        'train: img\npictures: "{stem}_leftImg8bit.png"\nmasks: "gt/{stem}_gtFine.png"\n',
        [('img/a_leftImg8bit.png', 'gt/a_gtFine.png')],
    ),
    'sequences': (
        'train: "seq*/rgb"\nmasks: "{parent}/sem/{name}"\n',
        [('seq1/rgb/0.png', 'seq1/sem/0.png'), ('seq2/rgb/0.png', 'seq2/sem/0.png')],
    ),
    'a star in the name': ('train: i\nmasks: "m/{stem}_*.png"\n', [('i/a.jpg', 'm/a_v2.png')]),
    'letters that mean something elsewhere': (
        'train: i\nmasks: "m/{stem}.*"\n',
        [
            ('i/a[1].jpg', 'm/a[1].png'),
            ('i/a1.jpg', 'm/a1.png'),
            ('i/a{stem}.jpg', 'm/a{stem}.png'),
            ('i/x.y.jpg', 'm/x.y.png'),
        ],
    ),
    'several folders': (
        'train: [a/images, b/images]\nmasks: "{parent}/masks/{stem}.png"\n',
        [('a/images/1.jpg', 'a/masks/1.png'), ('b/images/1.jpg', 'b/masks/1.png')],
    ),
    'several roots': (
        'path: [first, second one]\ntrain: images\nmasks: masks\n',
        [('first/images/1.jpg', 'first/masks/1.png'), ('second one/images/1.jpg', 'second one/masks/1.png')],
    ),
    'masks by split': (
        'train: i\nmasks: {train: "one/{stem}.png", val: two}\n',
        [('i/1.jpg', 'one/1.png')],
    ),
}


@pytest.mark.parametrize('name', LAYOUTS)
def test_layouts(name, tmp_path):
    text, expected = LAYOUTS[name]
    paint_all(tmp_path, expected)
    assert sorted(pairs_of(write(tmp_path / 'data.yaml', text + TWO))) == sorted(expected)


def test_lists(tmp_path):
    """Pascal VOC's: names without an ending, relative to a folder; and paths, relative to the root or to the list."""
    expected = [(f'JPEGImages/{stem}.jpg', f'SegmentationClass/{stem}.png') for stem in ('b', 'a', 'ü 1')]
    paint_all(tmp_path, expected)
    voc = 'train: sets/train.txt\nimages: JPEGImages\nmasks: "SegmentationClass/{stem}.png"\n'
    write(tmp_path / 'sets/train.txt', '\ufeffb\r\na\r\n\r\nü 1\r\n')
    assert pairs_of(write(tmp_path / 'data.yaml', voc + TWO)) == expected
    paths = 'train: sets/paths.txt\nmasks: SegmentationClass\n'
    write(
        tmp_path / 'sets/paths.txt', f'JPEGImages/b.jpg\n../JPEGImages/a.jpg\n{tmp_path}/JPEGImages/ü 1.jpg'
    )
    assert pairs_of(write(tmp_path / 'data.yaml', paths + TWO)) == expected


def test_links_hidden_files_and_circles(tmp_path):
    paint_all(tmp_path, [('far/a.jpg', 'masks/a.png')])
    (tmp_path / 'images').mkdir()
    os.symlink('../far', tmp_path / 'images/far')
    os.symlink('.', tmp_path / 'far/itself')
    (tmp_path / 'far/._a.jpg').write_text('of a Mac')
    (tmp_path / 'far/.cache').mkdir()
    shutil.copy(tmp_path / 'far/a.jpg', tmp_path / 'far/.cache/b.jpg')
    found = pairs_of(write(tmp_path / 'data.yaml', 'train: images\nmasks: "masks/{stem}.png"\n' + TWO))
    assert found == [('far/a.jpg', 'masks/a.png')]


def fault_of(file, used=('train', 'val', 'test')) -> str:
    with pytest.raises(DataYamlError) as told:
        check_layout(read_description(file), used)
    return str(told.value)


def test_a_template_that_matches_nothing(tmp_path):
    file = paint_written(tmp_path)
    file.write_text(file.read_text().replace('_mask.png', '_masks.png'))
    message = fault_of(file)
    assert 'data.yaml:4: masks: ' in message and 'matches nothing for the 3 pictures of train' in message
    assert 'did you mean' in message and '_mask.png?' in message


def test_a_template_that_matches_twice(tmp_path):
    file = paint_written(tmp_path)
    file.write_text(file.read_text().replace('{stem}_mask.png', '{stem}*'))
    masks = tmp_path / 'street pictures/train/masks'
    shutil.copy(next(masks.iterdir()), masks / 'Straße train 街0_old.png')
    message = fault_of(file)
    assert 'data.yaml:4: masks: ' in message and 'several masks for 1 pictures of train' in message
    assert '街0_mask.png' in message and '街0_old.png' in message


@pytest.mark.parametrize('second', ['train/b/1.jpg', 'train/a/1.png', 'val/1.jpg'])
def test_one_mask_for_two_pictures(second, tmp_path):
    paint_all(tmp_path, [('train/a/1.jpg', 'masks/1.png'), (second, 'masks/1.png')])
    (tmp_path / 'val').mkdir(exist_ok=True)
    split = 'train' if 'train' in second else 'val'
    places = 'train: train\n' if split == 'train' else 'train: train\nval: val\n'
    message = fault_of(write(tmp_path / 'data.yaml', places + 'masks: "masks/{stem}.png"\n' + TWO))
    assert f'one mask for two pictures, 1 times in {split}' in message and 'masks/1.png' in message


@pytest.mark.parametrize('how', ['one folder', 'folder within', 'links', 'lists'])
def test_train_and_val_share_files(how, tmp_path):
    paint_all(tmp_path, [('images/val/1.jpg', 'masks/1.png'), ('images/2.jpg', 'masks/2.png')])
    train, val = 'images', {'one folder': 'images', 'folder within': 'images/val'}.get(how, 'other')
    if how == 'links':
        (tmp_path / 'other').mkdir()
        os.symlink('../images/2.jpg', tmp_path / 'other/2.jpg')
    if how == 'lists':
        train, val = 'train.txt', 'val.txt'
        write(tmp_path / train, 'images/2.jpg\nimages/val/1.jpg\n')
        write(tmp_path / val, 'images/2\n')
    text = f'train: {train}\nval: {val}\nmasks: "masks/{{stem}}.png"\n'
    message = fault_of(write(tmp_path / 'data.yaml', text + TWO))
    count = 2 if how == 'one folder' else 1
    assert f'data.yaml:2: val and train (line 1) share {count} pictures' in message


def test_val_alone_is_compared_with_what_there_is_of_train(tmp_path):
    paint_all(tmp_path, [('images/1.jpg', 'masks/1.png')])
    text = 'train: images\nval: images\nmasks: "masks/{stem}.png"\n'
    file = write(tmp_path / 'data.yaml', text + TWO)
    with pytest.raises(DataYamlError, match=r'data\.yaml:2: val and train \(line 1\) share 1 pictures'):
        check_layout(read_description(file), ['val'])
    file.write_text(file.read_text().replace('train: images', 'train: elsewhere'))
    check_layout(read_description(file), ['val'])


def test_what_is_not_there(tmp_path):
    paint_all(tmp_path, [('images/train/1.jpg', 'masks/train/1.png')])
    (tmp_path / 'empty').mkdir()
    write(tmp_path / 'list.txt', 'images/train/1.jpg\nimages/train/2.jpg\n')
    text = 'train: [images/trian, empty, list.txt, masks/train/1.png]\nmasks: masks\n'
    message = fault_of(write(tmp_path / 'data.yaml', text + TWO))
    assert message.count('data.yaml:1: train: ') == 4
    for told in (
        f'did you mean {tmp_path}/images/train?',
        f'{tmp_path}/empty holds no picture',
        f'list.txt, line 2: images/train/2.jpg: no picture {tmp_path}/images/train/2.jpg',
        'masks/train/1.png is a picture',
    ):
        assert told in message, message


def test_splits_that_are_not_used_need_not_be_there(tmp_path):
    file = paint_written(tmp_path)
    shutil.rmtree(tmp_path / 'street pictures/train')
    description = read_description(file)
    check_layout(description, ('val',))
    assert set(datasets_of(description)) == {'train', 'val'}
    assert 'train: ' in fault_of(file)
    shutil.rmtree(tmp_path / 'street pictures')
    check_layout(description, ())
    assert datasets_of(description)['val']['metainfo']['palette'] == [list(COLOURS[0]), list(COLOURS[2])]
