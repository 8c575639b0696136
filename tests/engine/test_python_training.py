"""Training by mmengine's own Runner with our hooks: the same weights, exact resume, the same refusals."""

from pathlib import Path

import pytest

from tests.engine.tiny_run import ToolRun, differences, run_tool_here, state_of


def run_here(code: str, folder: Path, name: str, ok: bool = True) -> ToolRun:
    """Runs Python code in a process of its own."""
    script = folder / f'{name}.py'
    script.write_text(code)
    return run_tool_here(str(script), cwd=folder, ok=ok)


@pytest.fixture(scope='module')
def own_runner(tiny) -> str:
    """A training by mmengine's own Runner, as ``docs/python_api.md`` has it."""
    config = tiny / 'for_python.py'
    # mmengine's own Runner hands workers' settings to a loader without workers.
    config.write_text(
        f'_base_ = {str(tiny / "tiny.py")!r}\n'
        'train_dataloader = dict(persistent_workers=False)\n'
        'val_dataloader = dict(persistent_workers=False)\n'
        'test_dataloader = dict(persistent_workers=False)\n'
    )
    return (
        'from mmengine.runner import Runner\n'
        'from mmseg_tapadl.engine import load_config\n'
        'from mmseg_tapadl.engine.launching import prepare_processes\n'
        f'cfg = load_config({str(config)!r})\n'
        "cfg.work_dir = 'work_dirs/own_runner'\n"
        "prepare_processes(cfg, 'none')\n"
        'Runner.from_cfg(cfg).train()\n'
    )


def test_mmengines_own_runner_as_documented(tiny, own_runner, undisturbed):
    run = run_here(own_runner, tiny, 'plain_runner')
    work_dir = tiny / 'work_dirs/own_runner'
    assert 'this run' in run.output and (work_dir / 'best_mIoU_iter_8.pth').exists()
    expected = state_of(undisturbed / 'iter_8.pth')
    assert differences(expected, state_of(work_dir / 'iter_8.pth')) == []
    # It goes on exactly where a checkpoint is named, repeating nothing and comparing as always.
    resume = f"cfg.load_from = {str(work_dir / 'iter_6.pth')!r}\ncfg.resume = True\ncfg.work_dir += '_again'\nRunner."
    again = own_runner.replace('Runner.', resume)
    run = run_here(again, tiny, 'plain_resume')
    assert 'resumed after iteration 6' in run.output
    assert differences(expected, state_of(tiny / 'work_dirs/own_runner_again/iter_8.pth')) == []
    run = run_here(
        again.replace('cfg.resume', 'cfg.optim_wrapper.optimizer.lr = 1.0; cfg.resume'),
        tiny,
        'other',
        ok=False,
    )
    assert (
        'RunMismatchError' in run.output
        and 'optim_wrapper.optimizer.lr: 0.001 when saved, 1.0 now' in run.output
    )


def test_mmengines_own_runner_by_epochs_is_refused(tiny, own_runner):
    code = own_runner.replace(
        'Runner.', "cfg.train_cfg = dict(by_epoch=True, max_epochs=1)\ncfg.work_dir += '_epochs'\nRunner."
    )
    run = run_here(code, tiny, 'plain_epochs', ok=False)
    assert 'ConfigError' in run.output and "type='IterBasedTrainLoop'" in run.output
    assert not list((tiny / 'work_dirs/own_runner_epochs').glob('*.pth'))
