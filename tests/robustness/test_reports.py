"""Results files and the pages made from them."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from mmseg_tapadl.evaluation.class_counts import percentages
from mmseg_tapadl.robustness.bootstrap import VIDEO_NOTE
from mmseg_tapadl.robustness.charts import COLOURS, axis_top, heat
from mmseg_tapadl.robustness.compare import compare, write_comparison
from mmseg_tapadl.robustness.report import write_report
from mmseg_tapadl.robustness.results import ResultError, read_results, write_results

_VOID = {'meta', 'img', 'br', 'link', 'input', 'hr'}


class Page(HTMLParser):
    """A page's text, its pictures and its links; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.links, self.images, self.texts, self.titles = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [value for key, value in attributes if key in ('href', 'src', 'action', 'srcset')]
        self.titles.append(found.get('title', ''))
        if tag == 'img':
            self.images.append(found)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.titles.append(dict(attributes).get('title', ''))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return ' '.join(' '.join(self.texts).split())


def assert_self_contained(text: str, page: Page) -> None:
    assert all(link.startswith('data:') for link in page.links)
    assert not re.search(r'https?://|@import|url\(|<script', text)
    assert 'width=device-width' in text


@pytest.fixture
def results(finished) -> dict:
    return read_results(finished / 'robustness.json')


def test_the_page_shows_every_number_and_needs_no_network(finished, results):
    text = (finished / 'report.html').read_text()
    page = Page(text)
    assert_self_contained(text, page)
    for value in (
        results['clean']['mIoU'], results['mPC'], results['cityscapes_c'],
        *results['corruptions'].values(), *(c['mIoU'] for c in results['cells']),
    ):  # fmt: skip
        assert f'{value:.2f}' in page.text
    assert f'{100 * results["rPC"]:.1f} %' in page.text
    assert 'must not be compared with published' in page.text
    assert VIDEO_NOTE in page.text
    for cell in results['cells']:
        assert (
            f'{cell["corruption"].replace("_", " ")}, severity {cell["severity"]}: mIoU {cell["mIoU"]:.2f}'
            in page.text
        )
    for name, value in results['clean']['IoU'].items():
        if value is not None:
            assert f'{name}, clean: {value:.2f}' in page.titles
    # Best and worst cell, two pictures each, as input, prediction and label.
    strips = [image for image in page.images if 'loading' not in image]
    assert len(strips) == 12 and all(image['alt'] for image in page.images)
    best = max(results['cells'], key=lambda c: c['mIoU'])
    assert f'Best cell: {best["corruption"].replace("_", " ")}, severity {best["severity"]}' in page.text


def test_names_are_escaped(results, tmp_path):
    page = write_report(
        {**results, 'name': '<b>"model" & co</b>'}, tmp_path / 'r.html', examples={}, palette={}
    ).read_text()
    assert '&lt;b&gt;&#34;model&#34; &amp; co&lt;/b&gt;' in page and '<b>"model"' not in page


def test_csv_and_json_agree_in_full_precision(finished, results):
    with open(finished / 'robustness.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    for row, cell in zip(rows, [results['clean'], *results['cells']], strict=True):
        assert (row['corruption'], int(row['severity'])) == (cell['corruption'], cell['severity'])
        assert float(row['mIoU']) == cell['mIoU'] and float(row['aAcc']) == cell['aAcc']
        for name in results['classes']:
            assert (float(row[name]) if row[name] else None) == cell['IoU'][name]
    pixels = results['clean']['pixels']
    counts = [list(pixels[key].values()) for key in ('right', 'predicted', 'labelled')]
    assert percentages(counts).miou == results['clean']['mIoU']
    assert results['pictures']['count'] == 5
    assert results['versions']['torch'] and results['seed'] == 0 and results['time']['seconds'] > 0


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda r: json.dumps({**r, 'format_version': 99}), 'version 99'),
        (lambda r: json.dumps(r)[:500], 'is broken'),
        (lambda r: json.dumps([1]), 'is not a robustness.json'),
        (lambda r: json.dumps({'mIoU': 3}), 'is not a robustness.json'),
        (lambda r: json.dumps({k: v for k, v in r.items() if k != 'mPC'}), "is broken.*'mPC'"),
        (lambda r: json.dumps({**r, 'cells': []}), 'is broken.*no cell'),
        (
            lambda r: json.dumps({**r, 'clean': {**r['clean'], 'resampled_mIoU': 'AAAA'}}),
            'is broken.*resamples',
        ),
        (
            lambda r: json.dumps({**r, 'cells': [{**r['cells'][0], 'mIoU': None}]}),
            'is broken.*fog|noise.*number',
        ),
        (lambda r: '\0\xff', 'is broken|not text'),
    ],
)
def test_a_wrong_file_is_refused_by_name(results, tmp_path, damage, message):
    file = tmp_path / 'wrong.json'
    file.write_text(damage(results), encoding='latin-1')
    with pytest.raises(ResultError, match=rf'wrong\.json.*({message})'):
        read_results(file)
    with pytest.raises(ResultError, match=r'nowhere.json'):
        read_results(tmp_path / 'nowhere.json')


def test_comparison(finished, results, tmp_path):
    twin, better = tmp_path / 'twin', tmp_path / 'better'
    shutil.copytree(finished, twin)
    higher = json.loads((finished / 'robustness.json').read_text())
    # A fog that another model sees through: far beyond noise, in one cell only.
    higher['name'] = 'see-through'
    fog = next(c for c in higher['cells'] if c['corruption'] == 'fog' and c['severity'] == 3)
    fog['mIoU'] += 40
    higher['corruptions']['fog'] += 20
    write_results(higher, better)
    files = [str(folder / 'robustness.json') for folder in (finished, twin, better)]
    out, headline = write_comparison(files, tmp_path / 'page.html')
    text = out.read_text()
    page = Page(text)
    assert_self_contained(text, page)
    assert VIDEO_NOTE in page.text
    assert 'see-through' in page.text and '+40.00 ▲' in page.text and '+20.00 ▲' in page.text
    assert [row.title for row in headline] == ['Clean', 'Average of corruptions', 'mPC', 'rPC (%)']
    _, corruptions, cells = compare([read_results(file) for file in files])
    by_key = {row.key: row.entries for row in [*corruptions, *cells]}
    assert by_key['fog_3'][0].difference is None
    assert (by_key['fog_3'][1].difference, by_key['fog_3'][1].noise) == (0.0, True)
    assert by_key['fog_3'][2].difference == pytest.approx(40) and by_key['fog_3'][2].noise is False
    assert by_key['fog_1'][2].noise is True


def test_a_comparison_shows_conditions_and_how_sure_the_models_are(results, tmp_path):
    """Two models measured under fog and night, at two temperatures; the second is better under night alone."""
    first = {
        **results,
        'conditions': {name: {**results['clean'], 'pictures': 2} for name in ('fog', 'night')},
    }
    second = json.loads(json.dumps({**first, 'temperature': {'value': 2.5, 'file': None}}))
    second['conditions']['night']['mIoU'] += 30
    second['clean']['confidence']['ece'] = 0.123
    third = {**json.loads(json.dumps(results)), 'name': 'silent', 'pooled': {}}
    for entry in (third['clean'], *third['cells']):
        entry['confidence'] = entry['reliability'] = None
    for name, content in (('a', first), ('b', second), ('c', third)):
        write_results(content, tmp_path / name)
    files = [str(tmp_path / name / 'robustness.json') for name in 'abc']
    text = write_comparison(files[:2], tmp_path / 'page.html')[0].read_text()
    page = Page(text)
    assert 'different temperatures: A as given, B at temperature 2.5' in page.text
    assert re.search(r'clean, night [\d.]+ [\d.]+ \+30\.00 ▲', page.text)
    assert re.search(r'clean, fog [\d.]+ [\d.]+ \+0\.00 ≈', page.text)
    sure = page.text[page.text.index('How sure they are') :]
    mine = results['clean']['confidence']
    row = f'clean {100 * mine["ece"]:.1f} 12.3 {100 * mine["auroc"]:.1f} {100 * mine["auroc"]:.1f} clean, fog'
    assert row in sure
    # What one model lacks is a dash, or no row.
    text = write_comparison([files[0], files[2]], tmp_path / 'page.html')[0].read_text()
    assert f'clean {100 * mine["ece"]:.1f} – {100 * mine["auroc"]:.1f} – ' in Page(text).text
    assert 'Conditions of the clean pictures' not in text
    text = write_comparison([files[2], files[2]], tmp_path / 'page.html')[0].read_text()
    assert 'How sure they are' not in text


def test_a_page_never_takes_the_place_of_results(finished, results, tmp_path):
    write_results(results, tmp_path / 'a')
    file = str(tmp_path / 'a/robustness.json')
    before = (tmp_path / 'a/robustness.json').read_bytes()
    with pytest.raises(ResultError, match=r'robustness\.json is one of the files to compare'):
        write_comparison([str(finished / 'robustness.json'), file], file)
    assert (tmp_path / 'a/robustness.json').read_bytes() == before


def test_a_matrix_has_a_line_a_row(finished, results):
    text = (finished / 'robustness.json').read_text()
    row = results['clean']['confusion'][0]
    assert f'[{", ".join(map(str, row))}]' in text
    assert json.loads(text)['clean']['confusion'] == results['clean']['confusion']


def test_a_condition_without_labelled_pixels_breaks_no_page(results, tmp_path):
    nothing = {**results['clean'], 'pictures': 1, 'mIoU': None, 'aAcc': None, 'confidence': None}
    nothing['IoU'] = dict.fromkeys(nothing['IoU'])
    content = {**results, 'conditions': {'fog': nothing, 'night': {**results['clean'], 'pictures': 4}}}
    page = write_report(content, tmp_path / 'r.html', examples={}, palette={}).read_text()
    assert 'clean, night' in page
    write_results(content, tmp_path)
    write_comparison([str(tmp_path / 'robustness.json')] * 2, tmp_path / 'page.html')


def test_what_cannot_be_compared_is_refused(results, tmp_path):
    other = {**results, 'cells': results['cells'][:-1]}
    write_results(results, tmp_path / 'a')
    write_results(other, tmp_path / 'b')
    files = [str(tmp_path / name / 'robustness.json') for name in 'ab']
    with pytest.raises(ResultError, match=r'b/robustness.json: measured other cells'):
        write_comparison(files, tmp_path / 'page.html')
    with pytest.raises(ResultError, match='2 to 26'):
        write_comparison(files[:1], tmp_path / 'page.html')
    assert not (tmp_path / 'page.html').exists()


def test_what_a_reader_must_know_before_believing_a_difference_is_noted(results, tmp_path):
    names = [name.upper() for name in results['classes']]

    def renamed(cell):
        return {**cell, 'IoU': dict(zip(names, cell['IoU'].values(), strict=True))}

    other = {**results, 'classes': names, 'clean': renamed(results['clean']), 'seed': 7}
    other['cells'] = [renamed(cell) for cell in results['cells']]
    write_results(results, tmp_path / 'a')
    write_results(other, tmp_path / 'b')
    write_comparison([str(tmp_path / name / 'robustness.json') for name in 'ab'], tmp_path / 'page.html')
    text = Page((tmp_path / 'page.html').read_text()).text
    assert 'B against A: the classes differ' in text and 'the seed of the corruptions differs' in text
    assert 'the library versions differ' not in text


def test_a_file_of_a_former_version_is_named_and_left_alone(finished, repo_root, tmp_path):
    old = tmp_path / 'old.json'
    shutil.copy(repo_root / 'tests/data/old_formats/robustness_1/robustness.json', old)
    before, new = old.read_bytes(), str(finished / 'robustness.json')
    for files in ([new, str(old)], [str(old), new], [str(old), str(old)]):
        with pytest.raises(
            ResultError, match=r'old\.json: has format version 1, .*measure the model again'
        ) as told:
            write_comparison(files, tmp_path / 'page.html')
        assert '\n' not in str(told.value)
    assert not (tmp_path / 'page.html').exists() and old.read_bytes() == before


def test_names_that_are_no_utf8_are_shown_with_escapes(results, tmp_path):
    foreign = {**results, 'name': 'stra\udcdfe', 'checkpoint': '/data/stra\udcdfe.pth'}
    page = write_report(foreign, tmp_path / 'r.html', examples={}, palette={}).read_text(encoding='utf-8')
    assert '/data/stra\\xdfe.pth' in page
    for name in 'ab':
        write_results(foreign, tmp_path / name)
    files = [str(tmp_path / name / 'robustness.json') for name in 'ab']
    write_comparison(files, tmp_path / 'page.html')
    assert '/data/stra\\xdfe.pth' in (tmp_path / 'page.html').read_text(encoding='utf-8')


def contrast(first: list[float], second: list[float]) -> float:
    """WCAG's contrast ratio of two RGB colours."""

    def luminance(colour):
        linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def rgb(text: str) -> list[int]:
    if text.startswith('rgb'):
        return [int(part) for part in re.findall(r'\d+', text)]
    digits = text[1:] if len(text) == 7 else ''.join(2 * digit for digit in text[1:])
    return [int(digits[i : i + 2], 16) for i in (0, 2, 4)]


def test_text_and_lines_can_be_told_from_their_ground():
    for value in [None, *range(0, 101, 2)]:
        ground, ink = (part.split(':')[1] for part in heat(value).split(';'))
        assert contrast(rgb(ground), rgb(ink)) >= 4.5, value
    for colour in COLOURS:
        assert contrast(rgb(colour), [255, 255, 255]) >= 3


def test_axis_ends_above_the_values_at_a_round_number():
    assert [axis_top([v]) for v in (0, 0.6, 4, 22.1, 61, 82.4, 100)] == [1, 1, 4, 25, 80, 100, 100]
