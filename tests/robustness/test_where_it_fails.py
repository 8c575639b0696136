"""The worst pictures, confusions, conditions and published rows of a report, against the pictures themselves."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmseg_tapadl.evaluation.robustness_presets import CITYSCAPES_C_CORRUPTIONS, select_cells
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.cell_details import DetailsFile
from mmseg_tapadl.robustness.confusions import most_confused
from mmseg_tapadl.robustness.published import is_cityscapes_val, published_models
from mmseg_tapadl.robustness.report import write_report
from mmseg_tapadl.robustness.results import read_results
from mmseg_tapadl.robustness.small_pictures import MOST, WORST, SmallPictures, sample_of
from mmseg_tapadl.robustness.small_views import read_ids, wrong_uri
from tests.robustness.tiny_model import make_tree, write_config


def test_pairs_by_hand():
    pairs = most_confused(np.array([[5, 1, 0], [3, 6, 1], [0, 0, 0]]), ['a', 'b', 'c'], 5)
    assert [pair[:3] for pair in pairs] == [('b', 'a', 3), ('a', 'b', 1), ('b', 'c', 1)]
    assert pairs[0].of_wrong == pytest.approx(3 / 5) and pairs[0].of_label == pytest.approx(3 / 10)
    assert most_confused(np.diag([1, 2, 3]), ['a', 'b', 'c'], 5) == []


def collected(wrong: list[int], sample: frozenset[int]) -> list:
    pictures = SmallPictures(sample)
    for index, number in enumerate(wrong):
        label = torch.zeros(30, 60, dtype=torch.uint8)
        label[:5] = 255
        pictures.add(
            index, name=f'{index}.png', condition='', labelled_pixels=1500, wrong_pixels=number,
            picture=torch.full((3, 30, 60), index % 256, dtype=torch.uint8), predicted=label * 0 + 1,
            labelled=label, num_classes=3, ignore_index=255,
        )  # fmt: skip
    return pictures.gather()


def test_the_worst_are_kept_whatever_the_sample_and_all_is_bounded():
    wrong = np.random.default_rng(0).integers(1, 400, 700).tolist()
    kept = collected(wrong, frozenset({3, 500}))
    worst = sorted(range(700), key=lambda index: (-wrong[index], index))[:WORST]
    assert [small.index for small in kept] == sorted({3, 500, *worst})
    assert len(sample_of(5000)) == MOST and sample_of(3) == {0, 1, 2}
    assert collected([0, 0], frozenset()) == []
    # Small copies: ids with void as the number of classes, and the map of what is wrong.
    assert set(np.unique(read_ids(kept[0].label))) == {0, 3} and set(
        np.unique(read_ids(kept[0].prediction))
    ) == {1}
    data = base64.b64decode(wrong_uri(kept[0], 3).split(',')[1])
    verdict = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
    assert (verdict[:5] == (40, 48, 56)).all() and (verdict[5:] == (184, 67, 0)).all()


def test_the_pages_worst_pictures_are_those_with_the_most_wrong_pixels(finished):
    results = read_results(finished / 'robustness.json')
    details = DetailsFile(finished / 'details' / 'fog_3.zip')
    confusion = np.array(
        next(c for c in results['cells'] if c['corruption'] == 'fog' and c['severity'] == 3)['confusion']
    )
    loss = confusion.sum() - confusion.trace()
    assert sum(facts['wrong'] for facts in details.pictures) == loss
    assert sum(facts['labelled'] for facts in details.pictures) == confusion.sum()
    text = (finished / 'report.html').read_text()
    section = text[text.index('fog, severity 3 <span') :]
    shown = re.findall(r'<b>([\d.]+) %</b> of the loss, .*?>(leftImg8bit[^<]*)<', section)[:5]
    expected = sorted(details.pictures, key=lambda facts: -facts['wrong'])
    assert shown == [(f'{100 * facts["wrong"] / loss:.1f}', facts['name']) for facts in expected]
    # Only the clean pictures and the highest severity of each corruption are kept.
    assert DetailsFile(finished / 'details' / 'fog_1.zip').pictures == []
    pair = most_confused(np.array(results['clean']['confusion']), results['classes'], 1)[0]
    assert f'{pair.label} → {pair.prediction}' in text
    assert f'{100 * results["clean"]["confidence"]["auroc"]:.1f}' in text
    assert results['worst_corruption']['mIoU'] == min(results['corruptions'].values())


def test_conditions_stand_beside_corruptions(tiny, options, tmp_path):
    root = make_tree(tmp_path / 'city', 4)
    for number, (picture, label) in enumerate(
        zip(
            sorted((root / 'leftImg8bit').rglob('*.png')),
            sorted((root / 'gtFine').rglob('*.png')),
            strict=True,
        )
    ):
        condition = ('fog', 'night')[number % 2]
        for source, folder, suffix in ((picture, 'rgb_anon', 'rgb_anon'), (label, 'gt', 'gt_labelTrainIds')):
            target = (
                tmp_path / 'acdc' / folder / condition / 'val' / 'S1' / f'S1_frame_{number:06d}_{suffix}.png'
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    config = Config.fromfile(write_config(tmp_path / 'model.py', root))
    pipeline = config.test_dataloader.dataset.pipeline
    config.test_dataloader.dataset = dict(
        type='ACDCDataset', data_root=str(tmp_path / 'acdc'), condition=['fog', 'night'], pipeline=pipeline
    )
    results = measure(config, options(corruptions=['contrast'], severities=[1]))
    assert list(results['conditions']) == ['fog', 'night']
    whole = np.array(results['clean']['confusion'])
    assert (sum(np.array(entry['confusion']) for entry in results['conditions'].values()) == whole).all()
    assert all(entry['pictures'] == 2 and entry['confidence'] for entry in results['conditions'].values())
    # The same as a data set of that condition alone.
    config.test_dataloader.dataset.condition = 'night'
    alone = measure(config, options(work_dir=tmp_path / 'night', corruptions=['contrast'], severities=[1]))
    assert alone['clean']['confusion'] == results['conditions']['night']['confusion']
    assert alone['clean']['mIoU'] == results['conditions']['night']['mIoU']
    page = (Path(options().work_dir) / 'report.html').read_text()
    assert '<summary>night <span' in page and f'{results["conditions"]["fog"]["mIoU"]:.2f}' in page


def complete(results: dict) -> dict:
    """Results as if all 72 cells had been measured on Cityscapes val."""
    cells = [
        {**results['cells'][0], 'corruption': cell.corruption, 'severity': cell.severity}
        for cell in select_cells('cityscapes-c')
    ]
    means = dict.fromkeys(CITYSCAPES_C_CORRUPTIONS, 60.0)
    return {
        **results, 'cells': cells, 'corruptions': means, 'cityscapes_c_complete': True,
        'pooled': dict.fromkeys(means, next(iter(results['pooled'].values()))),
        'pictures': {**results['pictures'], 'cityscapes_val': True},
    }  # fmt: skip


def test_published_rows_stand_beside_the_complete_protocol_only(finished, tmp_path):
    results = read_results(finished / 'robustness.json')
    whole = complete(results)

    def page(content: dict) -> str:
        return write_report(content, tmp_path / 'r.html', examples={}, palette={}).read_text()

    assert 'published: SegFormer-B5, snow: 40.7' in page(whole) and '69.7' in page(whole)
    for changed in (
        results,
        {**whole, 'cityscapes_c_complete': False},
        {**whole, 'channel_order': 'rgb'},
        {**whole, 'pictures': results['pictures']},
    ):
        assert 'published' not in page(changed).replace('published Cityscapes-C numbers', '').replace(
            'as published numbers were made', ''
        ).replace('.track.published', '')


def test_published_rows_are_those_of_the_model_zoo(repo_root):
    zoo = json.loads((repo_root / 'docs/model_zoo.json').read_text())
    rows = published_models()
    assert [(r['model'], r['cityscapes'], r['cityscapes_c']) for r in rows] == [
        (r['model'], r['cityscapes'], r['cityscapes_c']) for r in zoo['published']
    ]
    assert rows[0]['corruptions'] == zoo['published_corruptions']['scores']
    assert all(row['source'] for row in rows)


def test_cityscapes_val_is_known_by_its_cities():
    names = [
        f'leftImg8bit/val/{city}/{city}_{number:06d}_leftImg8bit.png'
        for city, count in (('frankfurt', 267), ('lindau', 59), ('munster', 174))
        for number in range(count)
    ]
    assert is_cityscapes_val(names)
    assert not is_cityscapes_val(names[:-1]) and not is_cityscapes_val(names[:-1] + names[:1])
    assert not is_cityscapes_val([name.replace('/val/', '/train/') for name in names])
    assert not is_cityscapes_val([])
