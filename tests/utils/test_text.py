"""Paths shown so that every screen and file takes them, and lists cut short."""

import os
from pathlib import Path

import pytest

from mmseg_tapadl.utils import first_few, shown


@pytest.mark.parametrize('name', ['a.png', '/data/my pictures/b (1).png', '街景/äß.png', r'C:\x.png', ''])
def test_ordinary_names_come_back_as_they_are(name):
    assert shown(name) == name
    assert shown(Path('x') / 'y') == 'x/y'


@pytest.mark.parametrize(
    ('raw', 'text'),
    [
        (b'stra\xdfe_01.png', r'stra\xdfe_01.png'),
        ('街'.encode() + b'\xff.png', r'街\xff.png'),
        (b'two\nlines\x1b[31m', r'two\nlines\x1b[31m'),
        ('\ufeffp00'.encode(), r'\ufeffp00'),
    ],
)
def test_what_cannot_be_shown_is_an_escape(raw, text):
    assert shown(raw) == shown(os.fsdecode(raw)) == text
    text.encode('utf-8', 'strict')


def test_a_lone_surrogate_of_any_origin_is_shown():
    assert shown('a\ud800b') == r'a\ud800b'


def test_the_first_few_and_how_many_more():
    assert first_few(['a', 'b', 'c', 'd']) == 'a, b, c, d'
    assert first_few(dict.fromkeys('abcdef')) == 'a, b, c, d, and 2 more'
    assert first_few('ab', most=1) == 'a, and 1 more'
    assert first_few([]) == ''
