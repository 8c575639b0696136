"""The folder of a run: whose it is, what a kill leaves in it, and that one process at a time is at it."""

import pytest

from mmseg_tapadl.studies.plan import check_plan, run_folder
from mmseg_tapadl.studies.run_folder import StepState, StudyMismatch

IDENTITY = {'study': 'one', 'config': {'model': {'tap': 4}}, 'sources': 'a' * 64}


def folder(work_dir, **changes):
    return run_folder(work_dir, 'tap', 0, {**IDENTITY, **changes})


def test_one_process_at_a_time(tmp_path):
    run = folder(tmp_path)
    assert run.take() and not folder(tmp_path).take()
    run.release()
    assert folder(tmp_path).take()


def test_what_a_kill_leaves_at_any_moment_can_be_gone_on_with(tmp_path):
    run = folder(tmp_path)
    run.path.mkdir(parents=True)
    for leftover in ('lock', '.new.json.12345678.tmp'):
        (run.path / leftover).touch()
        run.check()
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty/.new.json.12345678.tmp').touch()
    check_plan(tmp_path / 'empty', {})
    assert run.take()
    run.save_step('train', StepState(seconds=2.0, threads=1))
    again = folder(tmp_path)
    again.check()
    assert again.step('train') == StepState(2.0, False, 1, 1) and again.step('sweep') == StepState()


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'study': 'two'}, 'another study .study: one then, two now'),
        ({'config': {'model': {'tap': 3}}}, 'another config .config.model.tap: 4 then, 3 now'),
        ({'sources': 'b' * 64}, 'other sources .* aaaaaaaaaaaa then, bbbbbbbbbbbb now'),
        ({'data': {'train': 1}}, 'other data'),
    ],
)
def test_what_differs_is_told(tmp_path, changes, words):
    folder(tmp_path).take()
    with pytest.raises(StudyMismatch, match=words):
        folder(tmp_path, **changes).check()


def test_files_of_others_are_left_alone(tmp_path):
    run = folder(tmp_path)
    run.path.mkdir(parents=True)
    (run.path / 'iter_1.pth').touch()
    with pytest.raises(StudyMismatch, match='no run of a study wrote'):
        run.check()
    with pytest.raises(StudyMismatch, match='no study lies in it'):
        check_plan(tmp_path, {})
