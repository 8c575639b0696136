"""A study as its user runs it: real processes, killed, stopped, failing, gone on with, changed under the tool's hands."""

import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmseg_tapadl.studies.run_result import figure
from mmseg_tapadl.studies.run_study import run_study
from mmseg_tapadl.studies.workers import thread_share
from mmseg_tapadl.utils import DiskFullError, InputError, RunStopped
from tests.studies.tiny_study import ROOT, STUDY, read, study_command, write_study

# 'torn' cannot be trained: its weights leave the numbers within a few steps.
FAILING = (
    STUDY.replace("wide={'model.decode_head.channels': 48}", "torn={'optim_wrapper.optimizer.lr': 1e30}")
    .replace("    calm={'optim_wrapper.optimizer.lr': 1e-5},\n", '')
    .replace("variant='wide'", "variant='torn'")
    .replace('seeds = [0, 1]', 'seeds = [0]')
    .replace('primary = ', 'measure = dict(cells=dict(fog=[3]))\nprimary = ')
)
PATIENCE = 250  # seconds, on a machine that does much else

pytestmark = pytest.mark.timeout(900)


def run_here(study: Path, work_dir: Path, **options) -> int:
    """The tool's body in this process; the runs are processes of their own."""
    return run_study(study, tools=ROOT / 'tools', work_dir=str(work_dir), **options)


def wait_for(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def locked(path: Path) -> bool:
    with open(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def last_step(train: Path) -> int:
    return max((int(path.stem.removeprefix('iter_')) for path in train.glob('iter_*.pth')), default=0)


@pytest.fixture(scope='module')
def story(tmp_path_factory) -> dict:
    """A study that is killed outright in its first training, called again and stopped by Ctrl-C, and called again."""
    folder = tmp_path_factory.mktemp('study')
    study = write_study(folder, FAILING, iters=90)
    out = folder / 'out'
    train = out / 'runs/base/seed_0/train'
    first = subprocess.Popen(
        study_command(study, '--work-dir', 'out'),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert wait_for(lambda: last_step(train) or first.poll() is not None)
    assert first.poll() is None, first.stdout.read()
    first.kill()
    first.wait()
    # The training was asked to save and to leave; while it does, the run is nobody else's.
    assert wait_for(lambda: not locked(train.parent / 'lock'))
    killed_at = last_step(train)

    def interrupt() -> None:
        if wait_for(lambda: last_step(train) > killed_at):
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(RunStopped) as stopped:
        run_here(study, out)
    left = {
        'state': read(train.parent / 'state.json')['train'],
        'failed': (train.parent / 'failed.json').exists(),
        'locked': locked(train.parent / 'lock'),
        'step': last_step(train),
    }
    status = run_here(study, out, jobs=2)
    return {
        'study': study,
        'out': out,
        'stopped': stopped.value,
        'left': left,
        'killed_at': killed_at,
        'status': status,
    }


def test_ctrl_c_saves_and_the_run_is_left_to_go_on(story):
    assert story['stopped'].exit_status == 130
    assert '0 of 2 runs are finished' in str(story['stopped'])
    left = story['left']
    assert not left['state']['done'] and left['state']['seconds'] > 0
    assert not left['failed'] and not left['locked']
    assert 0 < story['killed_at'] < left['step'] < 90


def test_a_killed_study_goes_on_and_a_failed_run_is_named(story):
    out = story['out']
    assert story['status'] == 1
    log = (out / 'runs/base/seed_0/train.log').read_text()
    assert f'Advance dataloader {story["killed_at"]} steps' in log  # mmengine's words for going on
    assert f'Advance dataloader {story["left"]["step"]} steps' in log
    summary = read(out / 'study.json')
    status = {run['variant']: run['status'] for run in summary['runs']}
    assert status == {'base': 'finished', 'torn': 'failed'}
    message = next(run['message'] for run in summary['runs'] if run['variant'] == 'torn')
    assert message.startswith('train: train.py: ') and '\n' not in message
    assert [path.name for path in out.glob('runs/base/*/train/*.pth')] == ['iter_90.pth']
    assert summary['runs'][0]['curve']['iter'][-1] == 90


def test_the_fixed_interface(story):
    out = story['out']
    summary = read(out / 'study.json')
    assert summary['primary'] == {'variant': 'torn', 'against': 'base', 'measure': 'clean'}
    measured = read(out / 'runs/base/seed_0/sweep/robustness.json')
    base, torn = summary['runs']
    assert (base['variant'], base['seed'], base['status']) == ('base', 0, 'finished')
    assert (base['clean'], base['mPC']) == (measured['clean']['mIoU'], measured['mPC'])
    assert base['corruptions'] == {'fog': measured['cells'][0]['mIoU']}
    assert figure(base, 'weather') == base['mPC']
    assert (torn['clean'], torn['mPC'], torn['corruptions']) == (None, None, {})
    for told in summary['differences']:
        assert told['mean'] is told['low'] is told['high'] is None and told['seeds'] == []
    rows = (out / 'study.csv').read_text().splitlines()
    assert rows[0] == 'variant,seed,status,clean,mPC,weather,fog' and len(rows) == 3
    assert rows[1].split(',')[3] == repr(base['clean'])


def test_what_is_finished_is_not_run_again_and_what_failed_is(story, tmp_path, capfd):
    work = tmp_path / 'again'
    shutil.copytree(story['out'], work)
    before = {path: path.stat().st_mtime_ns for path in work.glob('runs/*/seed_0/*.log')}
    assert run_here(story['study'], work) == 1
    assert '2 runs, 1 finished, 1 left, 1 of them failed before' in capfd.readouterr().out
    changed = {path.parts[-3] for path, then in before.items() if path.stat().st_mtime_ns != then}
    assert changed == {'torn'}


def test_dry_run_tells_time_and_disk_and_writes_nothing(story, tmp_path, capfd):
    assert run_here(story['study'], tmp_path / 'fresh', seeds=[0, 1, 2], dry_run=True) == 0
    told = capfd.readouterr().out
    assert '6 runs, 0 finished, 6 left; how long they take is known once a run has been made' in told
    assert not (tmp_path / 'fresh').exists()
    run_here(story['study'], story['out'], seeds=[0, 1, 2, 3], only=['base'], dry_run=True)
    told = capfd.readouterr().out
    assert '4 runs, 1 finished, 3 left; about' in told and 'of disk' in told
    states = read(story['out'] / 'runs/base/seed_0/state.json')
    spent = sum(state['seconds'] for state in states.values())
    number, unit = told.partition('about ')[2].split()[:2]
    assert float(number) * {'s': 1, 'min': 60}[unit] == pytest.approx(3 * spent, rel=0.25)


def test_a_run_that_another_process_is_at_is_left_to_it(story, tmp_path, capfd):
    work = tmp_path / 'busy'
    shutil.copytree(story['out'], work)
    with open(work / 'runs/torn/seed_0/lock') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_here(story['study'], work) == 0
    assert 'torn/seed_0: another process is at it' in capfd.readouterr().out


def test_a_disk_that_will_not_hold_it_is_named_before_the_first_run(story, tmp_path):
    with pytest.raises(DiskFullError, match='--keep-checkpoints none'):
        run_here(story['study'], tmp_path / 'full', seeds=list(range(50_000)))
    assert not (tmp_path / 'full').exists()


def test_threads_are_shared_out(monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS')
    cores = len(os.sched_getaffinity(0))
    assert [thread_share(jobs) for jobs in (1, cores, 3 * cores)] == [cores, 1, 1]
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert thread_share(2) == 3


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
def test_what_changed_under_a_study_is_refused_before_anything_runs(story, tmp_path, change, words):
    folder = tmp_path / 'copy'
    shutil.copytree(story['study'].parent, folder)
    # The data lie elsewhere now, which changes nothing.
    edit(folder / 'tiny.py', str(story['study'].parent / 'data'), str(folder / 'data'))
    change(folder)
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
