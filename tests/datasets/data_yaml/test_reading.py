"""A ``data.yaml`` is read as it is written, and each fault is told with its line; nothing in it is run."""

import pytest

from mmseg_tapadl.datasets.data_yaml.coding import packed
from mmseg_tapadl.datasets.data_yaml.document import DataYamlError
from mmseg_tapadl.datasets.data_yaml.reading import read_description
from tests.datasets.data_yaml.painted import WRITTEN, write

HEAD = 'train: images\nmasks: masks\n'


def read(tmp_path, text):
    return read_description(write(tmp_path / 'data.yaml', text))


def fault_of(tmp_path, text) -> str:
    with pytest.raises(DataYamlError) as told:
        read(tmp_path, text)
    return str(told.value).replace(str(tmp_path), '')


def values(description):
    return [sorted(entry.values) for entry in description.classes]


def test_the_file_of_the_documents(tmp_path):
    description = read(tmp_path, WRITTEN)
    assert description.roots == (tmp_path / 'street pictures',)
    assert {split: [place.text for place in places] for split, places in description.splits.items()} == {
        'train': ['train/images'],
        'val': ['val/images'],
    }
    assert description.names == ['road', 'sky'] and description.colors
    assert values(description) == [[packed((128, 64, 128)), packed((60, 40, 222))], [packed((128, 128, 128))]]
    assert list(description.ignore) == [0]
    assert description.labels() == {
        'colors': [[[128, 64, 128], [60, 40, 222]], [[128, 128, 128]]],
        'ignore': [[0, 0, 0]],
    }


@pytest.mark.parametrize(
    ('text', 'names', 'ids', 'ignore'),
    [
        ('names: {0: road, 1: sky}', ['road', 'sky'], [[0], [1]], [255]),
        ('names: [road, sky]\nnc: 2', ['road', 'sky'], [[0], [1]], [255]),
        # Not in order, and names that YAML takes for something else.
        ('names:\n  2: no\n  1: 7', ['7', 'no'], [[1], [2]], [255]),
        ('names: {0: a, 1: b}\nreduce_zero_label: true', ['a', 'b'], [[1], [2]], [0, 255]),
        ('names: {0: off, 255: on}', ['off', 'on'], [[0], [255]], []),
        ('names: {0: a}\nignore: {ids: [7, 9]}', ['a'], [[0]], [7, 9]),
        ('classes: [a, b]\nignore: 9', ['a', 'b'], [[0], [1]], [9]),
        ('classes: [a, b]\nreduce_zero_label: true', ['a', 'b'], [[1], [2]], [0, 255]),
        ('classes: [{name: a, ids: [3, 4]}, {name: b, ids: 0}]', ['a', 'b'], [[3, 4], [0]], []),
    ],
)
def test_ids(text, names, ids, ignore, tmp_path):
    description = read(tmp_path, HEAD + text)
    assert (description.names, values(description)) == (names, ids) and not description.colors
    assert sorted(description.ignore) == ignore


def test_short_ways_to_write_colours(tmp_path):
    text = 'classes: [{name: a, colors: [1, 2, 3]}, {name: b, colors: [[4, 5, 6]], color: [9, 9, 9]}]\nignore: [0, 0, 0]'
    description = read(tmp_path, HEAD + text)
    assert values(description) == [[packed((1, 2, 3))], [packed((4, 5, 6))]] and list(description.ignore) == [
        0
    ]
    assert [entry.colour for entry in description.classes] == [(1, 2, 3), (9, 9, 9)]


CLASSES = 'classes: [a, b]\n'
FAULTS = {
    'unknown key': (HEAD + 'clases: [a]\n', 3, "unknown key 'clases' (did you mean 'classes'?)"),
    'unknown key of a class': (
        HEAD + 'classes:\n- {name: a, colours: [1, 2, 3]}\n',
        4,
        "did you mean 'colors'",
    ),
    'two classes of one colour': (
        HEAD + 'classes:\n- {name: a, colors: [[1, 2, 3]]}\n- {name: b, colors: [[4, 4, 4], [1, 2, 3]]}\n',
        5,
        "colour [1, 2, 3] of class 'b' is that of class 'a' in line 4",
    ),
    'two classes of one id': (
        HEAD + 'classes:\n- {name: a, ids: 1}\n- {name: b, ids: 1}\n',
        5,
        "id 1 of class 'b'",
    ),
    'ignored and a class': (HEAD + CLASSES + 'ignore: [1]\n', 4, "id 1 of ignore is that of class 'b'"),
    'a class without a name': (HEAD + 'classes:\n- {ids: [3]}\n', 4, 'a class has no name'),
    'a class without ids': (HEAD + 'classes:\n- {name: a, ids: 1}\n- {name: b}\n', 5, "class 'b' has no ids"),
    'ids and colours': (
        HEAD + 'classes:\n- {name: a, ids: 1}\n- {name: b, colors: [1, 2, 3]}\n',
        5,
        'either ids or',
    ),
    'ignore of another kind': (HEAD + CLASSES + 'ignore: {colors: [[0, 0, 0]]}\n', 4, 'ignore has colors'),
    'one name twice': (HEAD + 'classes:\n- a\n- a\n', 5, "two classes are called 'a' (the first in line 4)"),
    'a key twice': (
        HEAD + CLASSES + 'masks: other\n',
        4,
        "the key 'masks' stands here a second time (first in line 2)",
    ),
    'an id twice in names': (HEAD + 'names:\n  0: a\n  0: b\n', 5, "the key '0' stands here a second time"),
    'an id of more than 8 bits': (
        HEAD + 'classes:\n- {name: a, ids: [300]}\n',
        4,
        'a whole number from 0 to 255',
    ),
    'a truth for an id': (HEAD + 'classes:\n- {name: a, ids: [yes]}\n', 4, "not 'yes'"),
    'a colour of two': (HEAD + 'classes:\n- {name: a, colors: [[1, 2]]}\n', 4, "not ['1', '2']"),
    'a colour above 255': (HEAD + 'classes:\n- {name: a, colors: [[1, 2, 256]]}\n', 4, 'each 0 to 255'),
    'no classes': (HEAD, 1, 'classes is missing'),
    'an empty list of classes': (HEAD + 'classes: []\n', 3, 'classes is empty'),
    'names of nothing': (HEAD + 'names: {}\n', 3, 'names is empty'),
    'names and classes': (HEAD + CLASSES + 'names: [a]\n', 4, 'say the same'),
    'nc': (HEAD + 'names: [a, b]\nnc: 3\n', 4, 'nc is 3, but there are 2 names'),
    'no pictures': ('masks: masks\n' + CLASSES, 1, 'says no pictures'),
    'no masks': ('train: images\n' + CLASSES, 1, 'masks is missing'),
    'polygons': ('train: images\nmasks: all.json\n' + CLASSES, 2, 'coco.py'),
    'a field that is none': (
        'train: i\nmasks: "{image_path.stem}.png"\n' + CLASSES,
        2,
        'did you mean {stem}?',
    ),
    'a brace alone': ('train: i\nmasks: "{stem.png"\n' + CLASSES, 2, 'a brace without its partner'),
    'a star in a folder': ('train: i\nmasks: "*/{stem}.png"\n' + CLASSES, 2, 'in the file name only'),
    'masks of one split': ('train: i\nval: v\nmasks: {train: m}\n' + CLASSES, 3, 'masks has no val'),
    'a list where a text belongs': ('train: {a: b}\nmasks: m\n' + CLASSES, 1, 'train must be a text'),
    'a kind that is none': ('kind: cityscape\n', 1, "did you mean 'cityscapes'"),
    'shifted twice': (HEAD + 'names: {1: a}\nreduce_zero_label: true\n', 4, 'leave reduce_zero_label out'),
    'shifted with ids': (HEAD + 'reduce_zero_label: true\nclasses: [{name: a, ids: 1}]\n', 3, 'ids say what'),
    'a name of pictures': (HEAD + CLASSES + 'pictures: "{stem}/{stem}"\n', 4, 'a file name with one {stem}'),
    'a program': (
        HEAD + 'names: !!python/object/apply:os.system ["touch HERE"]\n',
        3,
        '!!python/object/apply:os.system',
    ),
    'a program as a name': (HEAD + 'names:\n- !!python/name:os.system a\n', 4, 'nothing in it is run'),
    'a tag of its own': (HEAD + 'names: !mine [a]\n', 3, '!mine'),
    'no YAML': (HEAD + 'names: [a, b\n', 4, 'no valid YAML'),
    'a tab': ('train:\n\t- a\n', 2, 'no valid YAML'),
    'no keys': ('- a\n', 1, 'must hold keys'),
    'nothing': ('# only this\n', 1, 'the file is empty'),
    'two documents': (HEAD + '---\na: b\n', 3, 'no valid YAML'),
    'a list within itself': (HEAD + 'names: &a [*a]\n', 3, 'without end'),
}


@pytest.mark.parametrize('name', FAULTS)
def test_faults_are_told_with_their_line(name, tmp_path, monkeypatch):
    text, line, told = FAULTS[name]
    monkeypatch.chdir(tmp_path)
    message = fault_of(tmp_path, text)
    lines = [part for part in message.split('\n') if f'/data.yaml:{line}: ' in part]
    assert any(told in part for part in lines), message
    assert [path.name for path in tmp_path.iterdir()] == ['data.yaml']


def test_all_faults_are_told_together(tmp_path):
    message = fault_of(tmp_path, 'trian: a\nmasks: m\nclasses: [a, a]\n')
    assert message.startswith('3 faults:') and message.count('/data.yaml:') == 3


def test_other_bytes_than_utf8(tmp_path):
    (tmp_path / 'data.yaml').write_bytes(b'train: i\npath: stra\xdfe\n')
    with pytest.raises(DataYamlError, match=r'data\.yaml:2: no text in UTF-8'):
        read_description(tmp_path / 'data.yaml')


def test_a_name_for_each_doubling_of_names_costs_nothing(tmp_path):
    """Aliases of aliases, a billion names written out: read once each."""
    lines = ['a0: &a0 [x, x]', *(f'a{n}: &a{n} [*a{n - 1}, *a{n - 1}]' for n in range(1, 18))]
    assert "unknown key 'a17'" in fault_of(tmp_path, '\n'.join(lines) + '\n')


def test_kinds(tmp_path):
    cityscapes = read(tmp_path, 'kind: cityscapes\n')
    assert len(cityscapes.classes) == 19 and cityscapes.names[:2] == ['road', 'sidewalk']
    assert cityscapes.masks['val'].text == 'gtFine/{split}/{folder}/{stem}_gtFine_labelTrainIds.png'
    own = read(tmp_path, 'kind: cityscapes\ntrain: mine\nmasks: "labels/{stem}.png"\n')
    assert len(own.classes) == 19 and [place.text for place in own.splits['train']] == ['mine']
    assert own.pictures == '{stem}.*'
    merged = read(tmp_path, 'kind: cityscapes\nclasses: [{name: flat, ids: [0, 1]}]\n')
    assert merged.names == ['flat'] and merged.pictures == '{stem}_leftImg8bit.png' and not merged.ignore
    camvid = read(tmp_path, 'kind: camvid\n')
    assert (
        len(camvid.classes) == 11
        and list(camvid.ignore) == [11]
        and set(camvid.splits) == {'train', 'val', 'test'}
    )
