"""The package as it is installed: built as a source distribution, a wheel from that, and used outside the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.engine.tiny_run import write_pictures

ROOT = Path(__file__).resolve().parents[1]
# What a source distribution is made of.
SOURCES = (
    *(
        'pyproject.toml',
        'setup.py',
        'MANIFEST.in',
        'requirements.txt',
        'README.md',
        'CHANGELOG.md',
        'LICENSE',
    ),
    *('mmseg_tapadl', 'configs', 'tools', 'demo_city'),
)


def call(*command: object, cwd: Path, ok: bool = True, **env: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0 or not ok, done.stdout[-2000:] + done.stderr[-2000:]
    return done


@pytest.fixture(scope='module')
def built(tmp_path_factory) -> Path:
    """A folder with the source distribution and a wheel that was built from it; no network is used."""
    folder = tmp_path_factory.mktemp('built')
    source = folder / 'source'
    source.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(path, source)
    # What `python -m build --no-isolation` calls.
    build = 'import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])'
    call(sys.executable, '-c', build, 'build_sdist', folder, cwd=source)
    (archive,) = folder.glob('*.tar.gz')
    with tarfile.open(archive) as file:
        file.extractall(folder / 'unpacked', filter='data')
    (unpacked,) = (folder / 'unpacked').iterdir()
    call(sys.executable, '-c', build, 'build_wheel', folder, cwd=unpacked)
    return folder


@pytest.fixture(scope='module')
def site(built) -> Path:
    """What pip installs of the wheel, beside the environment's libraries."""
    (wheel,) = built.glob('*.whl')
    pip = (sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index')
    call(*pip, '--target', built / 'site', wheel, cwd=built)
    return built / 'site'


def test_the_wheel_holds_all_configs_tools_and_data_files_and_nothing_else_at_its_top(built):
    (wheel,) = built.glob('*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition('/')[0].partition('-')[0] for name in names} == {'mmseg_tapadl'}
    for folder in ('configs', 'tools', 'demo_city'):
        here = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob('*.py')}
        assert {f'mmseg_tapadl/shipped/{name}' for name in here} <= names
    inside = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'mmseg_tapadl').rglob('*.*')}
    assert {name for name in inside if not name.endswith('.pyc') and '__pycache__' not in name} <= names


def test_the_command_stands_for_all_tools(site, tmp_path):
    command = site / 'bin/mmseg-tapadl'
    listed = call(command, cwd=tmp_path, PYTHONPATH=str(site)).stdout
    for name in (
        'train',
        'test',
        'predict',
        'check',
        'export',
        'robustness',
        'camvid',
        'complexity',
        'study',
    ):
        assert f'\n  {name} ' in listed, name
    usage = call(command, 'train', '--help', cwd=tmp_path, PYTHONPATH=str(site)).stdout
    assert usage.startswith('usage: mmseg-tapadl train ')
    assert 'mmseg-tapadl train configs/fan_tapadl_demo.py' in usage and 'tools/' not in usage
    wrong = call(command, 'trian', cwd=tmp_path, ok=False, PYTHONPATH=str(site))
    assert wrong.returncode == 2 and "no command 'trian': did you mean train?" in wrong.stderr
    configs = call(command, 'configs', cwd=tmp_path, PYTHONPATH=str(site)).stdout
    assert (
        f'below {site}/mmseg_tapadl/shipped/configs:' in configs and 'configs/fan_tapadl_demo.py' in configs
    )
    version = call(command, '--version', cwd=tmp_path, PYTHONPATH=str(site)).stdout
    assert version.startswith('mmseg-tapadl 0.')


def test_it_trains_outside_the_checkout(site, tmp_path):
    """With the configs that came along, in a folder that holds the person's data and nothing else."""
    write_pictures(tmp_path / 'data/demo_city', train=2, val=1)
    command = site / 'bin/mmseg-tapadl'
    run = call(
        command, 'train', 'configs/segformer_tapadl_demo.py', '--cfg-options', 'train_cfg.max_iters=1',
        'train_cfg.val_interval=1', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0',
        'train_dataloader.batch_size=1', cwd=tmp_path, PYTHONPATH=str(site),
    )  # fmt: skip
    assert 'Iter(train) [1/1]' in run.stdout + run.stderr
    assert (tmp_path / 'work_dirs/segformer_tapadl_demo/iter_1.pth').is_file()
    where = 'import mmseg_tapadl, sys; sys.exit(0 if sys.argv[1] in mmseg_tapadl.__file__ else 1)'
    call(sys.executable, '-c', where, site, cwd=tmp_path, PYTHONPATH=str(site))


def test_a_checkout_has_the_same_command_without_installing():
    done = call(sys.executable, '-m', 'mmseg_tapadl', 'test', '--help', cwd=ROOT)
    assert done.stdout.startswith('usage: mmseg-tapadl test ')
