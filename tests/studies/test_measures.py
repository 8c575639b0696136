"""What a study measures beside corruptions, and a shipped study from end to end: real runs."""

import shutil
from pathlib import Path

import pytest

from mmseg_tapadl.studies.run_study import run_study
from tests.engine.tiny_run import write_pictures
from tests.studies.tiny_study import ROOT, STUDY, read, write_study

pytestmark = pytest.mark.timeout(900)


def write_acdc(cityscapes: Path, root: Path) -> Path:
    """A picture of each condition in ACDC's layout."""
    pictures = sorted((cityscapes / 'leftImg8bit/val').rglob('*.png'))
    labels = sorted((cityscapes / 'gtFine/val').rglob('*.png'))
    for number, condition in enumerate(('fog', 'night', 'rain', 'snow')):
        for kind, source, end in (('rgb_anon', pictures, 'rgb_anon'), ('gt', labels, 'gt_labelTrainIds')):
            place = root / kind / condition / 'val/GP01' / f'GP01_frame_{number:06d}_{end}.png'
            place.parent.mkdir(parents=True)
            shutil.copy(source[number % len(source)], place)
    return root


def test_clean_pictures_and_acdc(tmp_path):
    study = write_study(tmp_path)
    acdc = write_acdc(tmp_path / 'data', tmp_path / 'acdc')
    text = STUDY.replace('primary = ', f"measure = dict(acdc='{acdc}')\nprimary = ")
    study.write_text(text.replace("measure='clean'", "measure='acdc_night'"))
    out = tmp_path / 'out'
    options = dict(tools=ROOT / 'tools', work_dir=str(out), seeds=[3], only=['wide'])
    assert run_study(study, **options, keep_checkpoints='none') == 0
    summary = read(out / 'study.json')
    run = next(run for run in summary['runs'] if run['variant'] == 'wide')
    folder = out / 'runs/wide/seed_3'
    measured = read(folder / 'acdc/metrics.json')['metrics']
    assert run['clean'] == read(folder / 'test/metrics.json')['metrics']['mIoU']
    assert run['acdc']['mIoU'] == measured['mIoU'] and run['acdc']['night'] == measured['mIoU_night']
    assert run['mPC'] is None and run['seed'] == 3
    assert 'seed=3' in (folder / 'train/config.py').read_text()
    assert not list(folder.glob('train/*.pth')), 'no checkpoint is kept'


def test_a_shipped_study_from_end_to_end(tmp_path):
    write_pictures(tmp_path / 'data', train=2, val=5, size=(256, 128))
    out = tmp_path / 'out'
    status = run_study(
        'configs/studies/local_aggregation_demo.py',
        tools=ROOT / 'tools',
        work_dir=str(out),
        data=str(tmp_path / 'data'),
        seeds=[0],
        only=['depthwise_conv_3'],
    )
    assert status == 0
    run = next(r for r in read(out / 'study.json')['runs'] if r['status'] == 'finished')
    assert run['variant'] == 'depthwise_conv_3' and set(run['corruptions']) == {'fog', 'gaussian_noise'}
    assert read(out / 'results/depthwise_conv_3_seed_0.json')['pictures']['count'] == 4
