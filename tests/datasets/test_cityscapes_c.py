"""Pre-generation: the on-the-fly pixels as files, resumable and with the truth in its manifest."""

import json
import shutil
from collections import namedtuple

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile

from mmseg_tapadl.datasets.cityscapes_c import PreGenerationError, Settings, pregenerate
from mmseg_tapadl.datasets.transforms import CorruptImage, TakePregenerated
from mmseg_tapadl.utils import sha256_of
from tests.robustness.tiny_model import make_tree

CELLS = (('gaussian_noise', 2), ('glass_blur', 1), ('contrast', 5))


@pytest.fixture
def source(tmp_path):
    return make_tree(tmp_path / 'source', 3)


def listing(target) -> dict[str, int]:
    return {str(p.relative_to(target)): p.stat().st_mtime_ns for p in target.rglob('*') if p.is_file()}


def test_files_hold_the_pixels_that_are_made_on_the_fly(source, tmp_path):
    target = tmp_path / 'target'
    manifest = pregenerate(source, target, Settings(CELLS, seed=4), workers=2)
    assert (manifest['made'], manifest['skipped']) == (9, 0)
    pictures = sorted((source / 'leftImg8bit/val').rglob('*.png'))
    for corruption, severity in CELLS:
        for picture in pictures:
            info = dict(img_path=str(picture))
            fly = CorruptImage(corruption, severity, seed=4)(LoadImageFromFile()(dict(info)))['img']
            take = TakePregenerated(str(target), corruption, severity, str(source / 'leftImg8bit/val'))
            path = take(dict(info))['img_path']
            assert path == f'{target}/{corruption}/{severity}/{picture.parent.name}/{picture.name}'
            assert np.array_equal(LoadImageFromFile()(dict(img_path=path))['img'], fly)
    written = json.loads((target / 'manifest.json').read_text())
    assert len(written['files']) == 9
    for name, digest in written['files'].items():
        assert sha256_of(target / name) == digest
    assert len(listing(target)) == 10


def test_continues_where_it_was_broken_off(source, tmp_path):
    whole = tmp_path / 'whole'
    pregenerate(source, whole, Settings(CELLS))

    def stop_after_four(files, total):
        for number, file in enumerate(files):
            if number == 4:
                raise KeyboardInterrupt
            yield file

    target = tmp_path / 'target'
    with pytest.raises(KeyboardInterrupt):
        pregenerate(source, target, Settings(CELLS), progress=stop_after_four)
    # A crash in the middle of a line of the journal.
    with open(target / 'manifest.jsonl', 'a') as journal:
        journal.write('{"name": "contr')
    before = listing(target)
    assert not (target / 'manifest.json').exists()
    made = pregenerate(source, target, Settings(CELLS))
    assert (made['made'], made['skipped']) == (5, 4)
    finished = [name for name in before if name.endswith('.png')]
    after = listing(target)
    assert sum(before[name] == after[name] for name in finished) >= 4
    assert (target / 'manifest.json').read_text() == (whole / 'manifest.json').read_text()
    assert sorted(after) == sorted(listing(whole))
    again = pregenerate(source, target, Settings(CELLS))
    assert (again['made'], again['skipped']) == (0, 9)
    assert listing(target) == after
    lost = target / 'contrast/5'
    shutil.rmtree(lost)
    assert pregenerate(source, target, Settings(CELLS))['made'] == 3 and lost.is_dir()


def test_what_cannot_be_made_is_said(source, tmp_path, monkeypatch):
    target = tmp_path / 'target'
    pregenerate(source, target, Settings(CELLS[:1]))
    with pytest.raises(PreGenerationError, match='other settings'):
        pregenerate(source, target, Settings(CELLS[:1], seed=1))
    with pytest.raises(PreGenerationError, match='leftImg8bit/train'):
        pregenerate(source, target, Settings(CELLS), split='train')
    with pytest.raises(ValueError, match="'rust'"):
        pregenerate(source, target, Settings((('rust', 1),)))
    # A disk as full as disks get cannot be had here: only its answer is made up.
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: namedtuple('Usage', 'total used free')(1, 1, 1000))
    with pytest.raises(PreGenerationError, match=r'needs about .* GB for 3 files'):
        pregenerate(source, tmp_path / 'full', Settings(CELLS[:1]))
    assert not (tmp_path / 'full').exists()
    monkeypatch.undo()
    bad = sorted((source / 'leftImg8bit').rglob('*.png'))[1]
    bad.write_bytes(b'nothing')
    with pytest.raises(PreGenerationError, match=bad.name):
        pregenerate(source, tmp_path / 'bad', Settings(CELLS[2:]))
