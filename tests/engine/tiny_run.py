"""A run small enough for tests: a tiny SegFormer on 12 generated pictures, through the real command lines."""

import itertools
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

_CONFIG = """
_base_ = {base!r}
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(64, 64)),
    backbone=dict(
        type='MixVisionTransformer', in_channels=3, embed_dims=16, num_stages=4, num_layers=[1, 1, 1, 1],
        num_heads=[1, 2, 4, 8], patch_sizes=[7, 3, 3, 3], sr_ratios=[8, 4, 2, 1], out_indices=(0, 1, 2, 3),
        mlp_ratio=2, qkv_bias=True, drop_rate=0.1, attn_drop_rate=0.0, drop_path_rate=0.1, with_cp=False),
    decode_head=dict(
        type='SegformerHead', in_channels=[16, 32, 64, 128], in_index=[0, 1, 2, 3], channels=32,
        dropout_ratio=0.1, num_classes=19, norm_cfg=norm, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(128, 64), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75), dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'), dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(128, 64), keep_ratio=True),
    dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (1.0, 1.5)],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
data = dict(type='CityscapesDataset', data_root={data!r})
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=True, sampler=dict(type='PositionedSampler', shuffle=True),
    dataset=dict(**data, pipeline=train_pipeline,
                 data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train')))
val_dataloader = dict(
    batch_size=1, num_workers=0, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**data, pipeline=test_pipeline,
                 data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')))
test_dataloader = val_dataloader
val_evaluator = dict(type='PreciseIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=3),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=3, end={iters})]
train_cfg = dict(type='IterBasedTrainLoop', max_iters={iters}, val_interval={iters})
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(interval=3), logger=dict(interval=1))
"""


def write_pictures(root: Path, train: int = 12, val: int = 5, size: tuple[int, int] = (128, 64)) -> Path:
    """Paints a data set in Cityscapes layout: blocks of colour, each class with its own; returns ``root``."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (19, 3))
    for split, count in (('train', train), ('val', val)):
        for number in range(count):
            labels = np.kron(rng.integers(0, 19, (4, 8)), np.ones((size[1] // 4, size[0] // 8), int)).astype(
                np.uint8
            )
            image = np.clip(colours[labels] + rng.normal(0, 10, (*labels.shape, 3)), 0, 255).astype(np.uint8)
            for kind, suffix, array in (
                ('leftImg8bit', 'leftImg8bit', image),
                ('gtFine', 'gtFine_labelTrainIds', labels),
            ):
                path = root / kind / split / 'town' / f'town_{number:06d}_000000_{suffix}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    return root


def write_config(path: Path, data: Path, iters: int = 8) -> Path:
    """Writes the tiny run's config, on top of the real ``default_runtime.py``; returns ``path``."""
    base = str(ROOT / 'configs/_base_/default_runtime.py')
    path.write_text(_CONFIG.format(base=base, data=str(data), iters=iters))
    return path


class ToolRun:
    """A tool of ``tools/`` in a process of its own, forked from one that has the libraries loaded.

    It is the command line as a user has it (arguments, exit status, signals, two streams), without the
    seconds that importing takes. ``output`` is everything printed so far.
    """

    def __init__(self, tool: str, *args: object, cwd: Path, env: dict[str, str] | None = None) -> None:
        _count.append(None)
        self._log = cwd / f'{Path(tool).name}.{len(_count)}.{os.getpid()}.out'
        call = (tool, [str(a) for a in args], str(cwd), str(self._log), env or {})
        self._process = _CONTEXT.Process(target=_tool_main, args=call)
        self._process.start()

    @property
    def output(self) -> str:
        """What the tool has printed."""
        return self._log.read_text() if self._log.exists() else ''

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def wait(self, timeout: float = 120) -> int:
        """Waits for the end; returns the exit status, negative for a signal."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f'still running after {timeout} s:\n{self.output[-3000:]}'
        return self._process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def send_when(self, number: signal.Signals, condition: Callable[[], bool], timeout: float = 100) -> int:
        """Sends a signal as soon as ``condition`` holds; returns the exit status."""
        end = time.monotonic() + timeout
        while not condition() and self.running and time.monotonic() < end:
            time.sleep(0.002)
        assert self.running, f'ended too early:\n{self.output[-3000:]}'
        self.send(number)
        return self.wait()


_CONTEXT = multiprocessing.get_context('forkserver')
_CONTEXT.set_forkserver_preload(
    ['mmseg_tapadl.engine.training', 'mmseg_tapadl.engine.testing', 'mmseg_tapadl.register', 'mmseg.apis']
)
_count: list[None] = []


def _tool_main(tool: str, args: list[str], cwd: str, log: str, env: dict[str, str]) -> None:
    os.environ.update(env)
    os.chdir(cwd)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv = [tool, *args]
    # Ctrl-C as in a terminal; a fork server ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')


def start_writer(folder: Path) -> multiprocessing.process.BaseProcess:
    """Starts a process that writes 2 MB checkpoints into ``folder`` until it is killed, and keeps two."""
    process = _CONTEXT.Process(target=_write_forever, args=(folder,))
    process.start()
    return process


def _write_forever(folder: Path) -> None:
    # Imported here: the benchmark uses this module in processes that must not load the package.
    from mmseg_tapadl.checkpoints.checkpoint_io import write_checkpoint
    from mmseg_tapadl.checkpoints.work_dir import checkpoints_in, point_to

    for step in itertools.count(1):
        content = {'state_dict': {'w': torch.full((500_000,), float(step))}, 'meta': {'iter': step}}
        write_checkpoint(content, folder / f'iter_{step}.pth')
        point_to(f'iter_{step}.pth', folder)
        for old in checkpoints_in(folder)[2:]:
            old.unlink()


def run_tool_here(tool: str, *args: object, cwd: Path, ok: bool = True, timeout: float = 120) -> ToolRun:
    """Runs a tool to its end and, with ``ok``, expects exit status 0."""
    run = ToolRun(tool, *args, cwd=cwd)
    status = run.wait(timeout)
    assert status == 0 or not ok, f'{tool} {args}: exit status {status}\n{run.output[-4000:]}'
    run.status = status  # type: ignore[attr-defined]
    return run


def free_port() -> str:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def two_processes(tool: str, *args: object, cwd: Path) -> tuple[ToolRun, ToolRun]:
    """Runs a tool in two processes that find each other over gloo, to their end; expects exit status 0."""
    port = free_port()
    runs = []
    for rank in ('0', '1'):
        env = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        runs.append(ToolRun(tool, *args, '--launcher', 'pytorch', cwd=cwd, env=env))
    for run in runs:
        assert run.wait() == 0, run.output[-3000:]
    return runs[0], runs[1]


def train_here(config: Path, work_dir: Path, *args: object, ok: bool = True) -> ToolRun:
    """Runs ``tools/train.py`` without the data check."""
    return run_tool_here(
        'train.py', config, '--work-dir', work_dir, '--skip-check', *args, cwd=work_dir.parent, ok=ok
    )


def differences(first: object, second: object, place: str = '') -> list[str]:
    """The places where two checkpoints are not bit-identical."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape and torch.equal(first, second)
        return [] if same else [place]
    if isinstance(first, dict) and isinstance(second, dict):
        found = [f'{place}.{key}' for key in set(first) ^ set(second)]
        return found + [
            d
            for key in set(first) & set(second)
            for d in differences(first[key], second[key], f'{place}.{key}')
        ]
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        return [
            d
            for i, pair in enumerate(zip(first, second, strict=True))
            for d in differences(*pair, f'{place}[{i}]')
        ]
    return [] if first == second else [place]


def state_of(path: Path) -> dict:
    """What must not differ between a run and its twin: all but the clock and the name of the run."""
    saved = torch.load(path, weights_only=True)
    logged = saved['message_hub']['log_scalars']
    return {
        'state_dict': saved['state_dict'],
        'ema': saved.get('ema_state_dict'),
        'optimizer': saved['optimizer'],
        'schedule': saved['param_schedulers'],
        'log': {key: value for key, value in logged.items() if not key.endswith('time')},
        'iter': saved['meta']['iter'],
    }
