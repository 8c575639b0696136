"""The command lines as a user runs them: kill, continue, compare, pre-generate, check a submission."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.cell_store import SweepMismatch
from mmseg_tapadl.robustness.sweep import SweepOptions
from tests.checkpoints.hostile_files import Touch
from tests.robustness.conftest import numbers_of
from tests.robustness.tiny_model import make_tree, write_checkpoint, write_config

CHOICE = ('--corruptions', 'motion_blur', 'gaussian_noise', '--severities', '1', '2')


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tools')
    config = write_config(folder / 'model.py', make_tree(folder / 'data'), workers=1)
    write_checkpoint(config, folder / 'model.pth')
    return folder


def test_killed_continued_and_compared(tiny, run_tool, repo_root, tmp_path):
    base = (tiny / 'model.py', tiny / 'model.pth', *CHOICE)
    whole = tmp_path / 'whole'
    options = dict(
        checkpoint=str(tiny / 'model.pth'), corruptions=['motion_blur', 'gaussian_noise'], severities=[1, 2]
    )
    measure(load_config(tiny / 'model.py'), SweepOptions(work_dir=whole, **options))
    killed = tmp_path / 'killed'
    command = [sys.executable, 'tools/test_robustness.py', *map(str, base), '--work-dir', str(killed)]
    process = subprocess.Popen(command, cwd=repo_root, start_new_session=True)
    deadline = time.monotonic() + 200
    while not (killed / 'cells' / 'motion_blur_1.json').exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    # No handler can run: the disk must be in order at any moment.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    found = {path.name for path in (killed / 'cells').glob('*.json')}
    assert {'clean.json', 'motion_blur_1.json'} <= found and not (killed / 'report.html').exists()
    again = run_tool('test_robustness.py', *base, '--work-dir', killed)
    assert f'skipped {len(found)} finished cells of 5' in again.stdout
    assert numbers_of(killed) == numbers_of(whole)

    # Pre-generated pictures give the same numbers; another data source is another sweep.
    files = tmp_path / 'files'
    run_tool('dataset_converters/cityscapes_c.py', tiny / 'data', files, *CHOICE, '--workers', 1)
    read = tmp_path / 'read'
    measure(load_config(tiny / 'model.py'), SweepOptions(work_dir=read, pregenerated=str(files), **options))
    both = [numbers_of(whole), numbers_of(read)]
    for results in both:
        results.pop('sweep')
    assert both[0] == both[1]
    with pytest.raises(SweepMismatch, match=r'another sweep \(pre-generated data'):
        measure(
            load_config(tiny / 'model.py'), SweepOptions(work_dir=whole, pregenerated=str(files), **options)
        )

    # A program is refused, and runs only for who trusts it.
    program = tmp_path / 'program.pth'
    torch.save({'state_dict': {}, 'x': Touch(tmp_path / 'ran')}, program)
    arguments = (tiny / 'model.py', program, *CHOICE, '--work-dir', tmp_path / 'program')
    refused = run_tool('test_robustness.py', *arguments, ok=False)
    assert refused.returncode == 2 and 'holds a program' in refused.stderr + refused.stdout
    assert not (tmp_path / 'ran').exists()
    run_tool('test_robustness.py', *arguments, '--trust-checkpoint', ok=False)
    assert (tmp_path / 'ran').exists()

    page = tmp_path / 'page.html'
    shown = run_tool(
        'compare_robustness.py', whole / 'robustness.json', read / 'robustness.json', '--out', page
    )
    assert '(+0.00~)' in shown.stdout and page.is_file()
    (read / 'robustness.json').write_text('{')
    broken = run_tool(
        'compare_robustness.py', whole / 'robustness.json', read / 'robustness.json', '--out', page, ok=False
    )
    assert broken.returncode == 2 and f'{read}/robustness.json: is broken' in broken.stderr
    assert json.loads((whole / 'robustness.json').read_text())['name'] == 'model'


def test_a_submission_that_cannot_be_checked(run_tool, tmp_path):
    wrong = run_tool('check_acdc_submission.py', tmp_path / 'a.zip', '--data-root', tmp_path, ok=False)
    assert wrong.returncode == 2 and 'Traceback' not in wrong.stderr
    assert 'check_acdc_submission.py: error:' in wrong.stderr and 'no ACDC test pictures' in wrong.stderr


@pytest.mark.parametrize(
    'tool',
    [
        'test_robustness.py',
        'compare_robustness.py',
        'check_acdc_submission.py',
        'dataset_converters/cityscapes_c.py',
    ],
)
def test_help_shows_examples(tool, run_tool):
    assert 'Examples:' in run_tool(tool, '--help').stdout
