"""Memory over a long test."""

import tempfile
import warnings
from pathlib import Path

from benchmarks.abuse_cases.hostile import _plain_config
from mmseg_tapadl.utils.process import settle_process
from tests.engine.tiny_run import train_here, write_config, write_pictures  # noqa: F401


def resident_bytes() -> int:
    """The memory this process holds."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmRSS'):
            return int(line.split()[1]) * 1024
    raise OSError('no VmRSS in /proc/self/status')


def run(ours: bool, quick: bool) -> dict:
    """Returns the resident megabytes after a tenth of the pictures and at the end."""
    warnings.filterwarnings('ignore')
    if ours:
        settle_process()  # as every tool does
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.runner import Runner
    from mmseg.utils import register_all_modules

    pictures = 200 if quick else 2000

    class Watch(Hook):
        seen: list[int] = []  # noqa: RUF012 (one list, one run)

        def after_test_iter(
            self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
        ) -> None:
            if batch_idx + 1 in (pictures // 10, pictures):
                self.seen.append(resident_bytes())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / 'data', train=1, val=pictures, size=(64, 32))
        if ours:
            import mmseg_tapadl.register  # noqa: F401 (registers)

        register_all_modules(init_default_scope=True)
        config = write_config(folder / 'tiny.py', folder / 'data') if ours else _plain_config(folder)
        cfg = Config.fromfile(config)
        cfg.work_dir = str(folder / 'run')
        cfg.log_level = 'ERROR'
        if ours:
            from mmseg_tapadl.engine import TrustedRunner, write_checkpoint
            from mmseg_tapadl.engine.launching import prepare_processes

            prepare_processes(cfg, 'none')
            runner = TrustedRunner.from_cfg(cfg)
            write_checkpoint({'state_dict': runner.model.state_dict()}, folder / 'w.pth')
            runner._load_from = str(folder / 'w.pth')
        else:
            runner = Runner.from_cfg(cfg)
        runner.register_hook(Watch())
        runner.test()
    early, late = (round(value / 1e6, 1) for value in Watch.seen)
    return {'pictures': pictures, 'early_mb': early, 'late_mb': late, 'growth_mb': round(late - early, 1)}
