"""What the guards cost: their share of a training iteration, measured inside a real training.

    python benchmarks/guard_cost.py                                   # the demo's model, 40 iterations
    python benchmarks/guard_cost.py --config configs/fan_tapadl_camvid.py --iterations 20

Every call of a guard's hook is timed in place; seeding a sample and writing a checkpoint whole (rather than
as mmengine does) are timed beside it. The target is at most 2 % of an iteration.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Works from a checkout without installing.
sys.path.insert(0, str(ROOT))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', default='configs/fan_tapadl_demo.py')
    parser.add_argument('--iterations', type=int, default=40)
    parser.add_argument(
        '--interval', type=int, default=1000, help='iterations between checkpoints, for their share'
    )
    parser.add_argument('--cfg-options', nargs='+', default=[])
    return parser.parse_args()


def seconds_of(action: Any, times: int) -> float:
    """Mean seconds of one call."""
    start = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - start) / times


def main() -> int:
    """Measures and prints."""
    args = parse_args()
    from mmengine.runner import save_checkpoint
    from mmseg.utils import register_all_modules

    from mmseg_tapadl.engine import TrustedRunner, load_config
    from mmseg_tapadl.engine.launching import prepare_processes
    from mmseg_tapadl.engine.repeatable.random_streams import seeded, stream_seed

    spent: dict[str, float] = defaultdict(float)
    marks: list[float] = []
    guards = {'ExactResumeHook', 'FiniteGuardHook', 'StopSignalHook', 'WholeCheckpointHook', 'MissedValidationHook',
              'StartSummaryHook', 'MetricsJsonHook'}  # fmt: skip

    class TimingRunner(TrustedRunner):
        """Times the hooks of every iteration."""

        def call_hook(self, fn_name: str, **kwargs: Any) -> None:
            if fn_name not in ('before_train_iter', 'after_train_iter'):
                super().call_hook(fn_name, **kwargs)
                return
            for hook in self._hooks:
                start = time.perf_counter()
                getattr(hook, fn_name)(self, **kwargs)
                name = type(hook).__name__
                if name in guards and len(marks) > 3:
                    spent[name] += time.perf_counter() - start
            if fn_name == 'after_train_iter':
                marks.append(time.perf_counter())

    register_all_modules(init_default_scope=True)
    with tempfile.TemporaryDirectory() as folder:
        options = [f'train_cfg.max_iters={args.iterations}', 'default_hooks.checkpoint.interval=100000000',
                   'default_hooks.checkpoint.save_last=False', 'train_cfg.val_interval=100000000', *args.cfg_options]  # fmt: skip
        cfg = load_config(ROOT / args.config, options)
        cfg.work_dir = folder
        prepare_processes(cfg, 'none')
        runner = TimingRunner.from_cfg(cfg)
        runner.train()
        counted = len(marks) - 4
        iteration = (marks[-1] - marks[3]) / counted
        runner.train_loop._iter -= 1
        saver = next(hook for hook in runner.hooks if type(hook).__name__ == 'WholeCheckpointHook')
        whole = seconds_of(lambda: (setattr(saver, 'saved_step', -1), saver.save_now(runner)), 3)
        content = {'state_dict': runner.model.state_dict(), 'optimizer': runner.optim_wrapper.state_dict()}
        plain = seconds_of(lambda: save_checkpoint(content, f'{folder}/plain.pth'), 3)

    def one_sample() -> None:
        with seeded(stream_seed(0, 'sample', 1)):
            pass

    per_sample = seconds_of(one_sample, 300) * runner.train_dataloader.batch_size
    rows = [(name, value / counted) for name, value in sorted(spent.items())]
    rows.append(('seeding of samples (PlacedSamples)', per_sample))
    rows.append(
        (
            f'whole checkpoints, more than plain, every {args.interval}',
            max(0.0, whole - plain) / args.interval,
        )
    )
    total = sum(seconds for _, seconds in rows)
    print(f'{args.config}: {1e3 * iteration:.1f} ms an iteration ({counted} measured)')
    for name, seconds in rows:
        print(f'  {name:<52}{1e3 * seconds:8.3f} ms  {100 * seconds / iteration:6.3f} %')
    share = 100 * total / iteration
    print(f'  {"all guards":<52}{1e3 * total:8.3f} ms  {share:6.3f} %  (target: at most 2 %)')
    print(f'  a checkpoint: {1e3 * whole:.0f} ms whole, {1e3 * plain:.0f} ms plain')
    return 0 if share <= 2 else 1


if __name__ == '__main__':
    sys.exit(main())
