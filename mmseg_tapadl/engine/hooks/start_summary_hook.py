"""One screen at the start of a run: what is about to happen."""

from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class StartSummaryHook(Hook):
    """Logs data, classes, model, weights, device, processes, seed, schedule and where things go.

    When the run will end is in every line of the log (``eta``).
    """

    priority = 'LOWEST'

    def before_train(self, runner: Any) -> None:
        """Logs the summary."""
        if not is_main_process():
            return
        loader, optimizer = runner.train_dataloader, runner.optim_wrapper
        names = runner.train_dataloader.dataset.metainfo.get('classes') or ()
        accumulate = optimizer._accumulative_counts
        per_update = loader.batch_size * runner.world_size * accumulate
        rates = sorted({group.get('initial_lr', group['lr']) for group in optimizer.optimizer.param_groups})
        rows = {
            'training': f'{len(loader.dataset)} pictures of {_root(loader.dataset)}',
            'validation': _validation(runner),
            'classes': f'{len(names)}: {_listed(names)}',
            'model': _model(runner),
            'weights': weights_in_words(runner),
            'device': f'{_device(runner)}, {runner.world_size} process(es), {loader.num_workers} worker(s) each',
            'batch': f'{loader.batch_size} a process, {per_update} pictures an update'
            + (f' ({accumulate} iterations are summed up)' if accumulate > 1 else ''),
            'optimizer': f'{type(optimizer.optimizer).__name__} ({type(optimizer).__name__}), '
            f'learning rate {" to ".join(f"{rate:.3g}" for rate in dict.fromkeys((rates[0], rates[-1])))}',
            'schedule': f'iterations {runner.iter + 1} to {runner.max_iters}, '
            f'{runner.max_iters * loader.batch_size * runner.world_size / len(loader.dataset):.1f} rounds of the data',
            'seed': f'{runner.seed}',
            'writes to': runner.work_dir,
        }
        notes = runner.cfg.get('launch_notes') or []
        lines = [f'  {name:<11}{text}' for name, text in rows.items()] + [
            f'  {"note":<11}{note}' for note in notes
        ]
        runner.logger.info('\n'.join(['this run', *lines]))


def weights_in_words(runner: Any) -> str:
    """Where the weights come from, in words."""
    if runner.is_resuming:
        return f'resumed after iteration {runner.iter}'
    if runner._load_from:
        return f'read from {runner._load_from}'
    pretrained = (runner.cfg.model.get('backbone') or {}).get('init_cfg')
    if isinstance(pretrained, dict) and pretrained.get('type') == 'Pretrained':
        return f'encoder from {pretrained["checkpoint"]}, the rest random'
    return 'random (the paper starts from ImageNet weights: --pretrained FILE)'


def _root(dataset: Any) -> str:
    return str(getattr(dataset, 'data_root', None) or type(dataset).__name__)


def _validation(runner: Any) -> str:
    if runner.val_loop is None:
        return 'none'
    dataset = runner.val_dataloader.dataset
    return f'{len(dataset)} pictures of {_root(dataset)}, every {runner.val_interval} iterations'


def _listed(names: Any) -> str:
    shown = ', '.join(list(names)[:8])
    return f'{shown}, ...' if len(names) > 8 else shown


def _model(runner: Any) -> str:
    model = runner.bare_model
    backbone = runner.cfg.model.get('backbone') or {}
    count = sum(p.numel() for p in model.parameters()) / 1e6
    arch = f' {backbone["arch"]}' if isinstance(backbone.get('arch'), str) else ''
    parts = [
        type(module).__name__ for module in (model, getattr(model, 'decode_head', None)) if module is not None
    ]
    return f'{backbone.get("type", "")}{arch} with {" and ".join(reversed(parts))}, {count:.2f} million parameters'


def _device(runner: Any) -> str:
    device = next(runner.model.parameters()).device
    return (
        torch.cuda.get_device_name(device)
        if device.type == 'cuda'
        else f'CPU, {torch.get_num_threads()} thread(s)'
    )
