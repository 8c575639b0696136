"""The examples of docs/own_data.md as they stand, each on pictures in the layout that it describes."""

import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS

from mmseg_tapadl.datasets.data_yaml.reading import KEYS
from mmseg_tapadl.datasets.data_yaml.templates import FIELDS
from mmseg_tapadl.datasets.integrity import check_splits
from mmseg_tapadl.datasets.named_data import read_splits
from tests.datasets.data_yaml.painted import WRITTEN, paint, paint_written, write
from tests.docs.pages import ROOT, blocks_of

PAGE = ROOT / 'docs/own_data.md'
EXAMPLES = [block.text for block in blocks_of(PAGE) if block.language == 'yaml']


def paint_ultralytics(root):
    for split in ('train', 'val'):
        for stem in 'ab':
            paint(root / f'images/{split}/{stem}.jpg', root / f'masks/{split}/{stem}.png', [0, 1, 2, 255])


def paint_voc(root):
    for split, stems in (('train', 'ab'), ('val', 'cd')):
        write(root / f'VOC2012/ImageSets/Segmentation/{split}.txt', '\n'.join(stems) + '\n')
        for stem in stems:
            paint(
                root / f'VOC2012/JPEGImages/{stem}.jpg',
                root / f'VOC2012/SegmentationClass/{stem}.png',
                [0, 1, 2, 255],
            )


CASES = [
    (lambda root: paint_written(root, train=2), ['road', 'sky'], {0, 1, 255}),
    (paint_ultralytics, ['road', 'sky', 'car'], {0, 1, 2, 255}),
    (paint_voc, ['background', 'vehicle'], {0, 1, 255}),
]


def test_there_are_three_and_the_first_is_the_one_of_the_tests():
    assert len(EXAMPLES) == 3 and EXAMPLES[0] == WRITTEN


@pytest.mark.parametrize('number', range(3))
def test_examples(number, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    paint_it, names, values = CASES[number]
    paint_it(tmp_path)
    config = read_splits(write(tmp_path / 'data.yaml', EXAMPLES[number]))
    with DefaultScope.overwrite_default_scope('mmseg'):
        for report in check_splits(config, ('train', 'val'), progress=False).values():
            assert report.ok and list(report.classes) == names and report.labelled == report.pictures == 2
        dataset = DATASETS.build(config.train_dataloader.dataset)
        found = set(dataset[0]['data_samples'].gt_sem_seg.data.unique().tolist())
    assert found == values


def test_the_page_tells_of_every_key_and_field():
    text = PAGE.read_text(encoding='utf-8')
    for key in set(KEYS) - {'nc'}:
        assert f'`{key}`' in text, key
    for field in FIELDS:
        assert f'`{{{field}}}`' in text, field
