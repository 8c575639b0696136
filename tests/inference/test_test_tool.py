"""``tools/test.py`` writes as many results as there are pictures, and overlays of what the model saw."""

import numpy as np
from PIL import Image

from tests.engine.tiny_run import run_tool_here
from tests.inference.own_data import picture, write_pair


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_same_names_in_two_folders(own, predictor, tmp_path):
    run_tool_here(
        'test.py', own / 'own.py', own / 'own.pth', '--work-dir', tmp_path / 'work', '--skip-check',
        '--out', tmp_path / 'out', '--show-dir', tmp_path / 'show', cwd=tmp_path,
    )  # fmt: skip
    assert written(tmp_path / 'out') == written(tmp_path / 'show') == ['left/0001.png', 'right/0001.png']
    for name in written(tmp_path / 'out'):
        labels, seen = predictor.label_file(own / 'data/images' / name)
        assert np.array_equal(np.asarray(Image.open(tmp_path / 'out' / name)), labels)
        assert np.asarray(Image.open(tmp_path / 'show' / name)).shape == seen.shape


def test_label_maps_and_overlays_never_share_a_folder(own, tmp_path):
    both = tmp_path / 'both'
    run = run_tool_here(
        'test.py', own / 'own.py', own / 'own.pth', '--work-dir', tmp_path / 'work', '--skip-check',
        '--out', both, '--show-dir', both, cwd=tmp_path, ok=False,
    )  # fmt: skip
    assert run.status == 2 and 'would be both a label map and an overlay' in run.output
    assert not both.exists()


def test_same_names_in_two_data_sets_and_a_turned_picture(own, tmp_path):
    """Clear and corrupted pictures in one test; one of them lies on its side with a tag that says so."""
    clear, foggy = (write_pair(tmp_path / 'data', f'{part}/a.png', 7) for part in ('clear', 'foggy'))
    exif = Image.Exif()
    exif[0x0112] = 3
    for path in (clear, foggy):
        turned = Image.open(path).transpose(Image.Transpose.ROTATE_180)
        turned.save(path.with_suffix('.jpg'), quality=100, subsampling=0, exif=exif.tobytes())
    config = tmp_path / 'both.py'
    config.write_text(f"""
_base_ = {str(own / 'own.py')!r}
load = dict(type='LoadImageFromFile')
pack = [dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
part = dict(type='BaseSegDataset', data_root={str(tmp_path / 'data')!r}, img_suffix='.jpg', seg_map_suffix='.png',
            metainfo=dict(classes={tuple(f'kind {n}' for n in range(11))!r}))
test_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[
    dict(**part, data_prefix=dict(img_path='images/clear', seg_map_path='labels/clear'), pipeline=[load, *pack]),
    dict(**part, data_prefix=dict(img_path='images/foggy', seg_map_path='labels/foggy'), pipeline=[
        load, dict(type='CorruptImage', corruption='contrast', severity=5), *pack])]))
""")
    run_tool_here(
        'test.py', config, own / 'own.pth', '--work-dir', tmp_path / 'work', '--skip-check',
        '--out', tmp_path / 'out', '--show-dir', tmp_path / 'show', cwd=tmp_path,
    )  # fmt: skip
    assert written(tmp_path / 'out') == written(tmp_path / 'show') == ['clear/a.png', 'foggy/a.png']
    from mmengine.config import Config

    from mmseg_tapadl.inference.names_and_colours import names_and_colours

    palette = np.array(names_and_colours({}, Config.fromfile(config), 11).palette)
    upright = np.asarray(picture(7)).astype(float)
    spread = {}
    for part in ('clear', 'foggy'):
        labels = np.asarray(Image.open(tmp_path / f'out/{part}/a.png'))
        below = 2 * np.asarray(Image.open(tmp_path / f'show/{part}/a.png')).astype(float) - palette[labels]
        spread[part] = below.std()
        if part == 'clear':
            assert np.abs(below - upright).max() < 25
    assert spread['foggy'] < spread['clear'] / 3


def test_results_never_replace_labels(own, tmp_path):
    write_pair(tmp_path / 'data', 'a.png', 1)
    before = (tmp_path / 'data/labels/a.png').read_bytes()
    run = run_tool_here(
        'test.py', own / 'own.py', own / 'own.pth', '--work-dir', tmp_path / 'work', '--skip-check',
        '--out', tmp_path / 'data/labels', '--cfg-options', f'test_dataloader.dataset.data_root={tmp_path / "data"}',
        cwd=tmp_path, ok=False,
    )  # fmt: skip
    assert (
        run.status == 2 and 'labels/a.png belongs to the data' in run.output and 'Traceback' not in run.output
    )
    assert (tmp_path / 'data/labels/a.png').read_bytes() == before
