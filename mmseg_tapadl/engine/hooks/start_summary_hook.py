"""One screen at the start of a run: what is about to happen, and soon after when it will end."""

import time
from datetime import datetime, timedelta
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_tapadl.engine.run_state import bare_model, classes_of, is_resuming, optim_wrappers
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.dataset_tree import leaf_datasets


@HOOKS.register_module()
class StartSummaryHook(Hook):
    """Logs data, classes, model, weights, device, processes, seed, schedule and where things go.

    Args:
        estimate_after: The number of iterations that are timed, after a first one that is not, before the expected
            end is logged.
    """

    priority = 'LOWEST'

    def __init__(self, estimate_after: int = 10) -> None:
        self.estimate_after = estimate_after
        self.first_iter = 0
        self.timed_since = 0.0

    def before_run(self, runner: Any) -> None:
        """Refuses what another runner than ours would pass over in silence.

        Raises:
            InputError: The config starts from a segmenter or freezes parts of the encoder, and this runner does neither.
        """
        unread = [key for key in ('freeze', 'init_from') if runner.cfg.get(key) is not None]
        if unread and not hasattr(runner, 'whole_start'):
            raise InputError(
                f"{unread[0]}={runner.cfg[unread[0]]!r} acts with runner_type='TrustedRunner' (RUNNERS.build(cfg)) only, and "
                f'{type(runner).__name__} would pass over it'
            )

    def before_train(self, runner: Any) -> None:
        """Logs the summary."""
        self.first_iter = runner.iter
        if not is_main_process():
            return
        loader, optimizer = runner.train_dataloader, optim_wrappers(runner)[0]
        names = classes_of(loader.dataset)
        accumulate = optimizer._accumulative_counts
        per_update = loader.batch_size * runner.world_size * accumulate
        rates = sorted(
            {
                group.get('initial_lr', group['lr'])
                for group in optimizer.optimizer.param_groups
                # A frozen parameter stands in a group, too.
                if any(parameter.requires_grad for parameter in group['params'])
            }
        )
        rows = {
            'training': f'{len(loader.dataset)} pictures of {_root(loader.dataset)}',
            'validation': _validation(runner),
            'classes': f'{len(names)}: {_listed(names)}',
            'model': _model(runner),
            'trains': _trainable(runner),
            'weights': weights_in_words(runner),
            'device': f'{_device(runner)}, {runner.world_size} process(es), {loader.num_workers} worker(s) each',
            'batch': f'{loader.batch_size} a process, {per_update} pictures an update'
            + (f' ({accumulate} iterations are summed up)' if accumulate > 1 else ''),
            'optimizer': f'{type(optimizer.optimizer).__name__} ({type(optimizer).__name__}), '
            f'learning rate {" to ".join(f"{rate:.3g}" for rate in dict.fromkeys((rates[0], rates[-1])))}',
            'schedule': f'iterations {runner.iter + 1} to {runner.max_iters}, '
            f'{runner.max_iters * loader.batch_size * runner.world_size / len(loader.dataset):.1f} epochs',
            'seed': f'{runner.seed}',
            'writes to': runner.work_dir,
        }
        if (known := runner.iter + 1 + self.estimate_after) < runner.max_iters:
            rows['ends'] = f'estimated after iteration {known}'
        notes = runner.cfg.get('launch_notes') or []
        lines = [f'  {name:<11}{text}' for name, text in rows.items()] + [
            f'  {"note":<11}{note}' for note in notes
        ]
        runner.logger.info('\n'.join(['this run', *lines]))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Logs the expected end once, as soon as the pace is known; the log's ``eta`` follows it from there."""
        timed = runner.iter - self.first_iter
        if timed == 0:
            self.timed_since = time.monotonic()
        elif timed == self.estimate_after and runner.iter + 1 < runner.max_iters and is_main_process():
            pace = (time.monotonic() - self.timed_since) / timed
            left = timedelta(seconds=round(pace * (runner.max_iters - runner.iter - 1)))
            end = (datetime.now() + left).strftime('%a %Y-%m-%d %H:%M')
            runner.logger.info(
                f'expected end: {end}, in {left}, and validations on top ({pace:.3g} s an iteration)'
            )


def weights_in_words(runner: Any) -> str:
    """Where the weights come from, in words."""
    if is_resuming(runner) and runner.iter > 0:
        return f'resumed after iteration {runner.iter}'
    if runner._load_from:
        return f'read from {runner._load_from}'
    start = getattr(runner, 'whole_start', None)
    if start is not None:
        return f'{len(start.taken)} of {start.total} tensors from {runner.cfg["init_from"]}, what does not fit random'
    encoder = _encoder(runner)
    initial = encoder.get('init_cfg')
    if isinstance(initial, dict) and initial.get('type') == 'Pretrained':
        return f'encoder from {initial["checkpoint"]}, the rest random'
    if pretrained := encoder.get('pretrained'):
        source = "timm's default weights" if pretrained is True else pretrained
        return f'encoder from {source}, the rest random'
    return 'random (the paper starts from ImageNet weights: --pretrained FILE)'


def _encoder(runner: Any) -> dict:
    # A runner that was given a built model has no config of it.
    model = runner.cfg.get('model')
    return (model.get('backbone') or {}) if isinstance(model, dict) else {}


def _root(dataset: Any) -> str:
    leaves = list(leaf_datasets(dataset))
    return ' and '.join(
        dict.fromkeys(str(getattr(leaf, 'data_root', None) or type(leaf).__name__) for leaf in leaves)
    )


def _validation(runner: Any) -> str:
    if runner.val_loop is None:
        return 'none'
    dataset = runner.val_dataloader.dataset
    return f'{len(dataset)} pictures of {_root(dataset)}, every {runner.val_interval} iterations'


def _listed(names: Any) -> str:
    shown = ', '.join(list(names)[:8])
    return f'{shown}, ...' if len(names) > 8 else shown


def _model(runner: Any) -> str:
    model = bare_model(runner)
    backbone = _encoder(runner)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    names = [backbone[key] for key in ('arch', 'model') if isinstance(backbone.get(key), str)]
    arch = f' {names[0]}' if names else ''
    parts = [
        type(module).__name__ for module in (model, getattr(model, 'decode_head', None)) if module is not None
    ]
    return f'{backbone.get("type", "")}{arch} with {" and ".join(reversed(parts))}, {count:.2f} million parameters'


def _trainable(runner: Any) -> str:
    model = bare_model(runner)
    total = sum(p.numel() for p in model.parameters())
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = runner.cfg.get('freeze')
    why = (
        ''
        if frozen is None
        else f', frozen: {frozen if isinstance(frozen, str) else f"stem and {frozen} blocks"}'
    )
    return f'{count:,} of {total:,} parameters ({100 * count / total:.3g} %){why}'


def _device(runner: Any) -> str:
    device = next(runner.model.parameters()).device
    return (
        torch.cuda.get_device_name(device)
        if device.type == 'cuda'
        else f'CPU, {torch.get_num_threads()} thread(s)'
    )
