"""kill -9 at random moments of a training that does little but write checkpoints."""

import os
import random
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.abuse_cases.sandbox import silence

_NUMBERS = 3_000_000  # 12 MB a checkpoint


def _train(folder: Path, ours: bool) -> None:
    """Trains a model of one large tensor, with a checkpoint after every iteration, until killed."""
    import torch
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class OneTensor(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(_NUMBERS))

        def forward(self, inputs: torch.Tensor, mode: str = 'loss') -> dict:
            return {'loss': (self.weight[:10] - 1).square().sum()}

    setting = dict(
        model=OneTensor(),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=[dict(inputs=0.0)] * 10,
            sampler=dict(type='InfiniteSampler'),
            batch_size=1,
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=100_000),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        randomness=dict(seed=0),
        log_level='ERROR',
    )
    if ours:
        from mmseg_tapadl.engine import TrustedRunner

        hook = dict(type='WholeCheckpointHook', interval=1, max_keep_ckpts=2)
        TrustedRunner(
            **setting, default_scope='mmseg', default_hooks=dict(checkpoint=hook, logger=None)
        ).train()
    else:
        hook = dict(type='CheckpointHook', interval=1, by_epoch=False, max_keep_ckpts=2)
        Runner(**setting, default_hooks=dict(checkpoint=hook, logger=None)).train()


def _survived(folder: Path, ours: bool) -> bool:
    """Whether automatic resuming finds a checkpoint and can read it."""
    try:
        if ours:
            from mmseg_tapadl.checkpoints.work_dir import newest_whole
            from mmseg_tapadl.engine import read_checkpoint

            found = newest_whole(folder, lambda text: None)
            return found is not None and read_checkpoint(found)['state_dict']['weight'].numel() == _NUMBERS
        from mmengine.runner import CheckpointLoader, find_latest_checkpoint

        return (
            CheckpointLoader.load_checkpoint(find_latest_checkpoint(str(folder)))['state_dict'][
                'weight'
            ].numel()
            == _NUMBERS
        )
    except Exception:
        return False


def run(ours: bool, quick: bool) -> dict:
    """Returns ``tried`` and ``survived``."""
    tried = 10 if quick else 100
    # Loaded before the forks, which then start at once.
    import mmseg.registry  # noqa: F401

    if ours:
        import mmseg_tapadl.register  # noqa: F401
    draw = random.Random(0)
    survived = 0
    for _ in range(tried):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            child = os.fork()
            if child == 0:
                silence()
                _train(folder, ours)
                os._exit(0)
            while not (folder / 'last_checkpoint').exists():
                if os.waitpid(child, os.WNOHANG)[0]:
                    raise RuntimeError('the training ended before its first checkpoint')
                time.sleep(0.002)
            time.sleep(draw.uniform(0.0, 0.5))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            survived += _survived(folder, ours)
    return {'tried': tried, 'survived': survived}
