"""A study as its user runs it: real processes, killed, failing, gone on with, changed under the tool's hands."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mmseg_tapadl.studies.run_result import figure
from tests.studies.tiny_study import STUDY, read, run_study_tool, study_command, write_study

# 'torn' cannot be trained: its weights leave the numbers within a few steps.
FAILING = (
    STUDY.replace("calm={'optim_wrapper.optimizer.lr': 1e-5}", "torn={'optim_wrapper.optimizer.lr': 1e30}")
    .replace('seeds = [0, 1]', 'seeds = [0]')
    .replace('primary = ', 'measure = dict(cells=dict(fog=[3]))\nprimary = ')
)


def started(folder: Path) -> int:
    """How many processes were started for the steps of all runs."""
    return sum(len(list(folder.glob(f'runs/*/seed_*/{pattern}'))) for pattern in ('train/2*', 'test/2*'))


@pytest.fixture(scope='module')
def killed_and_finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A study that was killed outright in its first training and then called again; its file and the second call."""
    folder = tmp_path_factory.mktemp('study')
    study = write_study(folder, FAILING, iters=6)
    first = subprocess.Popen(
        study_command(study, '--work-dir', 'out'),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    train = folder / 'out/runs/base/seed_0/train'
    end = time.monotonic() + 120
    while not (train / 'iter_3.pth').exists() and first.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert first.poll() is None, first.stdout.read()
    first.kill()
    first.wait()
    while locked(folder / 'out/runs/base/seed_0/lock') and time.monotonic() < end:
        time.sleep(0.05)  # the training was asked to save and to leave
    return study, run_study_tool(study, '--work-dir', 'out', '--jobs', '2')


def locked(path: Path) -> bool:
    import fcntl

    with open(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_killed_study_goes_on_and_a_failed_run_is_named(killed_and_finished):
    study, second = killed_and_finished
    out = study.parent / 'out'
    assert second.returncode == 1, second.stdout + second.stderr
    assert 'base/seed_0: goes on' in second.stdout and 'wide/seed_0: begins' in second.stdout
    assert 'torn/seed_0: train failed with status 3' in second.stdout
    assert (
        'Advance dataloader' in (out / 'runs/base/seed_0/train.log').read_text()
    )  # mmengine's word for going on
    summary = read(out / 'study.json')
    status = {run['variant']: run['status'] for run in summary['runs']}
    assert status == {'base': 'finished', 'wide': 'finished', 'torn': 'failed'}
    assert (
        not list(out.glob('runs/*/seed_0/train/best*'))
        and len(list(out.glob('runs/base/*/train/*.pth'))) == 1
    )


def test_the_fixed_interface(killed_and_finished):
    study, _ = killed_and_finished
    out = study.parent / 'out'
    summary = read(out / 'study.json')
    assert summary['primary'] == {'variant': 'wide', 'against': 'base', 'measure': 'clean'}
    by_variant = {run['variant']: run for run in summary['runs']}
    for name in ('base', 'wide'):
        measured = read(out / f'runs/{name}/seed_0/sweep/robustness.json')
        run = by_variant[name]
        assert (run['seed'], run['clean'], run['mPC']) == (0, measured['clean']['mIoU'], measured['mPC'])
        assert run['corruptions'] == {'fog': measured['cells'][0]['mIoU']}
    assert by_variant['torn']['clean'] is None
    told = next(d for d in summary['differences'] if d['variant'] == 'wide' and d['measure'] == 'mPC')
    assert told['mean'] == by_variant['wide']['mPC'] - by_variant['base']['mPC']
    assert (
        told['low'] is None
        and told['high'] is None
        and told['seeds'] == [0]
        and 'no interval' in told['note']
    )
    assert figure(by_variant['wide'], 'weather') == by_variant['wide']['mPC']
    rows = (out / 'study.csv').read_text().splitlines()
    assert rows[0] == 'variant,seed,status,clean,mPC,weather,fog' and len(rows) == 4
    page = (out / 'study.html').read_text()
    assert 'http' not in page.replace('http://www.w3.org', '') and 'torn' in page and '<svg' in page


def test_what_is_finished_is_not_run_again_and_what_failed_is(killed_and_finished):
    study, _ = killed_and_finished
    work = study.parent / 'again'
    shutil.copytree(study.parent / 'out', work)
    before = {path: path.stat().st_mtime_ns for path in work.glob('runs/*/seed_0/*.log')}
    done = run_study_tool(study, '--work-dir', work)
    assert done.returncode == 1 and '3 runs, 2 finished, 1 left, 1 of them failed before' in done.stdout
    changed = {path.parts[-3] for path, then in before.items() if path.stat().st_mtime_ns != then}
    assert changed == {'torn'}


def test_dry_run_tells_time_and_disk_and_writes_nothing(killed_and_finished):
    study, _ = killed_and_finished
    done = run_study_tool(study, '--work-dir', 'fresh', '--seeds', '0', '1', '2', '--dry-run')
    assert '9 runs, 0 finished, 9 left; how long they take is known once a run has been made' in done.stdout
    assert not (study.parent / 'fresh').exists()
    done = run_study_tool(
        study, '--work-dir', 'out', '--seeds', '0', '1', '--only', 'base', 'wide', '--dry-run'
    )
    assert (
        done.returncode == 0
        and '4 runs, 2 finished, 2 left; about' in done.stdout
        and 'of disk' in done.stdout
    )


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda folder: edit(folder / 'tiny.py', 'drop_path_rate=0.1', 'drop_path_rate=0.2'), 'another config'),
        (lambda folder: edit(folder / 'tiny_study.py', "measure='clean'", "measure='mPC'"), 'primary'),
        (lambda folder: edit(folder / 'tiny_study.py', 'fog=[3]', 'fog=[4]'), 'another study'),
        (lambda folder: repaint(folder / 'data'), 'other data'),
        (lambda folder: edit(folder / 'out/results/base_seed_0.json', '"torch": "', '"torch": "9'), 'versions'),
        (lambda folder: edit(folder / 'out/runs/torn/seed_0/run.json', '"sources": "', '"sources": "0'), 'sources'),
        (lambda folder: edit(folder / 'out/runs/torn/seed_0/run.json', '"study": "', '"study": "no_'), 'another study'),
        (lambda folder: (folder / 'out/runs/torn/seed_0/run.json').unlink(), 'no run of a study'),
    ],
)  # fmt: skip
def test_what_changed_under_a_study_is_refused_before_anything_runs(
    killed_and_finished, tmp_path, change, words, capfd
):
    study, _ = killed_and_finished
    folder = tmp_path / 'copy'
    shutil.copytree(study.parent, folder)
    # The same place for the config, as data_root names it.
    edit(folder / 'tiny.py', str(study.parent / 'data'), str(folder / 'data'))
    change(folder)
    from mmseg_tapadl.studies.run_study import run_study
    from mmseg_tapadl.utils import InputError

    with pytest.raises(InputError, match=words):
        run_study(folder / 'tiny_study.py', tools=folder, work_dir=str(folder / 'out'))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def repaint(data: Path) -> None:
    """Changes one byte of one label."""
    from PIL import Image

    path = next((data / 'gtFine/train').rglob('*.png'))
    label = Image.open(path)
    label.putpixel((0, 0), (label.getpixel((0, 0)) + 1) % 19)
    label.save(path)


def test_ctrl_c_saves_and_the_run_is_left_to_go_on(tmp_path):
    study = write_study(tmp_path, iters=400)
    command = study_command(study, '--only', 'base', '--seeds', '0')
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    train = tmp_path / 'work_dirs/studies/tiny_study/runs/base/seed_0/train'
    end = time.monotonic() + 120
    while not list(train.glob('iter_*.pth')) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert '0 of 1 runs are finished' in output
    state = read(train.parent / 'state.json')['train']
    assert not state['done'] and state['seconds'] > 0
    assert not locked(train.parent / 'lock') and not (train.parent / 'failed.json').exists()
