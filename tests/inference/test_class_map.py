"""The classes of a model as those of a data set: which names are the same, which are told, which are refused."""

import pytest
import torch

from mmseg_tapadl.evaluation.class_counts import NO_CLASS
from mmseg_tapadl.inference.class_map import map_classes, read_class_map
from mmseg_tapadl.inference.interface import Prediction
from mmseg_tapadl.utils import InputError

WANTED = ('road', 'traffic light', 'sky')


def test_case_spaces_and_lines_are_no_difference():
    found = map_classes(('Sky', 'Traffic_Light', 'ROAD'), WANTED, model='m')
    assert found.targets == (2, 1, 0)
    assert found.renamed == (('Sky', 'sky'), ('Traffic_Light', 'traffic light'), ('ROAD', 'road'))
    for name in ('traffic-light', 'TrafficLight', ' traffic  light ', 'traffic_-light'):
        assert map_classes(('road', name, 'sky'), WANTED, model='m').targets == (0, 1, 2)
    assert map_classes(WANTED, WANTED, model='m').renamed == ()


@pytest.mark.parametrize('name', ['traffic.light', 'traffic lights', 'traffic/light', 'Traffìc light'])
def test_any_other_difference_is_one(name):
    with pytest.raises(
        InputError, match=r'm has classes that the data set does not have: .*--class-map FILE'
    ):
        map_classes(('road', name, 'sky'), WANTED, model='m')


def test_a_name_that_could_be_two():
    with pytest.raises(InputError, match=r"'A B' could be 'a-b' or 'a_b' of the data set; say which"):
        map_classes(('A B', 'a-b', 'a_b'), ('a-b', 'a_b'), model='m')
    told = map_classes(('A B', 'a-b', 'a_b'), ('a-b', 'a_b'), table={'A B': 'a_b'}, model='m')
    assert told.targets == (1, 0, 1)


def test_a_table_merges_and_leaves_out():
    names = ('road', 'lane', 'boat', 'Traffic light', 'sky')
    table = {'lane': 'Road', 'boat': None}
    found = map_classes(names, WANTED, table=table, model='m')
    assert found.targets == (0, 0, NO_CLASS, 1, 2)
    assert dict(found.renamed)['boat'] == 'none of the data set'
    probabilities = torch.tensor([0.2, 0.15, 0.3, 0.25, 0.1])[:, None, None]
    mapped = found.apply(Prediction(torch.tensor([[2]]), probabilities=probabilities))
    assert mapped.labels.tolist() == [[NO_CLASS]] and mapped.probabilities is None
    assert mapped.confidence.tolist() == [[pytest.approx(0.3)]]
    merged = map_classes(names[:2] + names[3:], WANTED, table={'lane': 'road'}, model='m')
    logits = torch.tensor([0.2, 0.25, 0.3, 0.25]).log()[:, None, None]
    mapped = merged.apply(Prediction(torch.tensor([[2]], dtype=torch.uint8), logits=logits))
    assert mapped.labels.tolist() == [[1]] and mapped.confidence.tolist() == [[pytest.approx(0.3)]]
    assert mapped.probabilities.flatten().tolist() == pytest.approx([0.45, 0.3, 0.25])


def test_what_is_refused():
    with pytest.raises(InputError, match='m lacks classes of the data set: sky; it has road, traffic light'):
        map_classes(WANTED[:2], WANTED, model='m')
    with pytest.raises(InputError, match='--class-map names lawn, which m does not have'):
        map_classes(WANTED, WANTED, table={'lawn': 'road'}, model='m')
    with pytest.raises(
        InputError, match="--class-map maps 'sky' to 'heaven', which the data set does not have"
    ):
        map_classes(WANTED, WANTED, table={'sky': 'heaven'}, model='m')
    # A class that is mapped away is missing, too.
    with pytest.raises(InputError, match='m lacks classes of the data set: sky'):
        map_classes(WANTED, WANTED, table={'sky': None}, model='m')


def test_the_file(tmp_path):
    file = tmp_path / 'map.yaml'
    file.write_text('lane: road\n"no": sky\nboat: null\n')
    assert read_class_map(file) == {'lane': 'road', 'no': 'sky', 'boat': None}
    for text, told in (
        ('', 'must hold lines'),
        ('- lane\n- road\n', 'must hold lines'),
        ('lane: [road, sky]\n', r'no pair of names; put quotes'),
        ('1: road\n', 'put quotes'),
        ('no: sky\n', 'put quotes'),
        ('lane: road\nlane: sky\n', "'lane' stands in it twice"),
        ('lane: {', 'is no YAML'),
        ('a: !!python/object/apply:os.getcwd []\n', 'is no YAML'),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=rf'map\.yaml: .*{told}'):
            read_class_map(file)
    file.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(InputError, match='is no YAML'):
        read_class_map(file)
    with pytest.raises(InputError, match='cannot be read'):
        read_class_map(tmp_path)
