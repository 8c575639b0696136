"""``attention.html``: one file that needs nothing else, with a text for each figure, and looked at in a real browser."""

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import urlparse

import numpy as np
import pytest
from PIL import Image

from mmseg_tapadl.analysis.heat_pictures import (
    LEVELS,
    branch_uri,
    heads_uri,
    heat_uri,
    level_of,
    pooled,
    ramp,
)
from mmseg_tapadl.analysis.layer_charts import LayerLine, histogram_panel, layer_panel, round_up

CELLS = dict(corruptions=['gaussian_noise', 'fog'], severities=[1, 3])


class Page(HTMLParser):
    """What a page has: its addresses, and the figures without a text."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses: list[str] = re.findall(r'url\(([^)]*)\)', text)
        self.silent: list[str] = []
        self.figures = 0
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.addresses += [attributes[key] for key in ('src', 'href') if attributes.get(key)]
        if tag == 'button' and 'tile' in (attributes.get('class') or ''):
            self.figures += 1
            if not attributes.get('aria-label'):
                self.silent.append(str(attrs))
        if tag == 'img' and attributes.get('alt') is None:
            self.silent.append(str(attrs)[:80])
        if tag == 'svg' and not (attributes.get('aria-label') or attributes.get('aria-hidden')):
            self.silent.append(str(attrs)[:80])


@pytest.fixture(scope='module')
def page(street, pictures, tmp_path_factory):
    """The page of two models on five pictures, of which four are shown."""
    from mmseg_tapadl.analysis.attention_report import ModelFiles, ReportOptions, report_attention
    from mmseg_tapadl.engine.config import load_config

    out = tmp_path_factory.mktemp('page')
    models = [
        ModelFiles(load_config(street / f'{n}.py'), str(street / f'{n}.pth')) for n in ('fan_base', 'fan')
    ]
    report_attention(models, ReportOptions(out=out, data=str(street / 'data'), point=(10, 20), **CELLS))
    return out / 'attention.html'


def test_it_is_whole_and_says_each_figure_in_words(page):
    text = page.read_text(encoding='utf-8')
    found = Page(text)
    assert {urlparse(address).scheme for address in found.addresses} == {'data'}
    assert found.silent == [] and found.figures > 4 * 2 * 3 * 2
    assert 'http' not in re.sub(r'data:[^"\')]*', '', text).replace('http-equiv', '')
    assert page.stat().st_size < 5_000_000
    assert text.count('<h2 style="overflow-wrap:anywhere">') == 4
    for words in ('Redundancy', 'Stability', 'What goes with the drop in mIoU', 'Preferred branch of TAP'):
        assert words in text


def test_a_picture_alone_without_corruption(pictures, report, tmp_path):
    report('vit', images=pictures[:1], heads=[1, 0])
    text = (tmp_path / 'out/attention.html').read_text()
    assert Page(text).silent == []
    assert 'Stability' not in re.sub(r'<dl.*</dl>', '', text, flags=re.DOTALL)
    assert '<span>1</span><span>0</span>' in text


def test_swin_has_a_page(pictures, report, tmp_path):
    report('swin', images=pictures[:1], corruptions=['fog'])
    assert Page((tmp_path / 'out/attention.html').read_text()).silent == []


def read(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(',')[2])))


def test_the_scale_is_that_of_powers_of_two():
    assert level_of(np.array([0.0, 0.5, 1.0, 8.0, 64.0, 1e4])).tolist() == [
        0,
        0,
        0,
        LEVELS // 2,
        LEVELS,
        LEVELS,
    ]
    lightness = ramp() @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    image = read(heat_uri(np.array([[1.0, 8.0], [64.0, 2.0]]), overlay=True))
    rgba = np.asarray(image.convert('RGBA'))
    assert rgba[0, 0, 3] == 0 and rgba[0, 1, 3] > 0
    assert rgba[1, 0, :3].tolist() == ramp()[-1].tolist()


def test_heads_stand_side_by_side():
    maps = np.ones((3, 4, 70)) * np.array([1.0, 8.0, 64.0])[:, None, None]
    image = np.asarray(read(heads_uri(maps)))
    assert image.shape == (2, 3 * 24 + 2, 3)  # cells of 3 x 3
    assert image[0, [0, 25, 50]].tolist() == ramp()[[0, LEVELS // 2, LEVELS]].tolist()
    assert pooled(np.arange(6.0).reshape(2, 3), 2).tolist() == [[2.0, 3.5]]
    branches = np.asarray(read(branch_uri(np.array([[0, 1], [6, 3]]))).convert('RGBA'))
    assert branches[0, 0].tolist() == branches[1, 0].tolist() == [0x00, 0x72, 0xB2, 170]
    assert len(np.unique(branches.reshape(-1, 4), axis=0)) == 3


def test_a_page_too_large_is_drawn_in_less_detail(page, report, pictures, tmp_path, monkeypatch):
    import mmseg_tapadl.analysis.attention_page as module

    report('fan', images=pictures[:2], corruptions=['fog'], out=tmp_path / 'whole')
    whole = (tmp_path / 'whole/attention.html').stat().st_size
    monkeypatch.setattr(module, 'MOST_CHARACTERS', whole - 1000)
    report('fan', images=pictures[:2], corruptions=['fog'], out=tmp_path / 'less')
    less = (tmp_path / 'less/attention.html').stat().st_size
    assert less < whole - 1000
    assert Page((tmp_path / 'less/attention.html').read_text()).silent == []


def test_panels_draw_what_they_are_given():
    lines = [
        LayerLine('clean', [0.2, None, 0.4], [0.01, None, 0.02]),
        LayerLine('<fog>', [0.1, 0.2, 0.3], [None] * 3, 1, True),
    ]
    svg = layer_panel(lines, [0, 5, 7], title='a < b')
    assert 'a &lt; b' in svg and '&lt;fog&gt;, layer 5: 0.2' in svg and 'nan' not in svg.lower()
    assert svg.count('<polygon') == 1 + 3  # a band, and the square markers
    assert 'nan' not in histogram_panel([LayerLine('x', [0] * 20)], title='none').lower()
    assert [round_up(x) for x in (0, 0.013, 0.2, 0.21, 3, 97, 100)] == [1, 0.02, 0.2, 0.25, 5, 100, 100]


@pytest.mark.skipif(shutil.which('chromium') is None, reason='no chromium to look at the page with')
@pytest.mark.parametrize('width', [1280, 400])
def test_a_browser_shows_it(page, width, tmp_path):
    shot = tmp_path / 'shot.png'
    command = [
        *('chromium', '--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars'),
        *(f'--user-data-dir={tmp_path}/profile', f'--window-size={width},3000', f'--screenshot={shot}'),
        *('--enable-logging=stderr', page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not re.search(r'CONSOLE.*(error|Uncaught)', done.stderr, re.IGNORECASE)
    image = np.asarray(Image.open(shot).convert('RGB'))
    assert image.shape[1] == width and len(np.unique(image.reshape(-1, 3), axis=0)) > 300
