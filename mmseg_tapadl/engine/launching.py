"""Starting a run: its processes and its device."""

import os
from datetime import timedelta
from typing import Any

import torch
from mmengine.config import Config

from mmseg_tapadl.engine.config import ConfigError


def prepare_processes(cfg: Config, launcher: str) -> list[str]:
    """Fits a config to the processes and the device at hand.

    Without CUDA the processes talk over gloo and the model is wrapped without device numbers; where there
    is one process or no CUDA, ``SyncBN`` becomes ``BN`` (the same function in one process).

    Args:
        cfg: Changed in place.
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.

    Returns:
        What was changed, as sentences for the log.

    Raises:
        ConfigError: When the environment is not that of the launcher.
    """
    cfg.launcher = launcher
    notes = []
    cuda = torch.cuda.is_available()
    if launcher != 'none':
        _require_environment(launcher)
        if cuda:
            _start_cuda(cfg)
        else:
            _start_gloo(cfg)
            notes.append('no CUDA: the processes talk over gloo')
    if launcher == 'none' or not cuda:
        count = _replace_sync_bn(cfg._cfg_dict)
        if count:
            why = 'there is no CUDA' if not cuda else 'there is one process'
            notes.append(f'SyncBN became BN in {count} place(s), because {why}')
            if launcher != 'none':
                notes.append('each process normalises by its own share of the batch')
    return notes


def _require_environment(launcher: str) -> None:
    needed = {'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), 'slurm': ('SLURM_PROCID', 'SLURM_NTASKS')}[
        launcher
    ]
    missing = [name for name in needed if name not in os.environ]
    if missing:
        how = (
            'torchrun (tools/dist_train.sh does)'
            if launcher == 'pytorch'
            else 'srun (tools/slurm_train.sh does)'
        )
        raise ConfigError(f'--launcher {launcher}: {", ".join(missing)} not set; start the tool with {how}')


def _start_cuda(cfg: Config) -> None:
    """Lets mmengine start its processes now rather than in the Runner: the checks before it need the ranks."""
    from mmengine.dist import init_dist, is_distributed
    from mmengine.utils.dl_utils import set_multi_processing

    env = cfg.get('env_cfg') or {}
    set_multi_processing(**env.get('mp_cfg', {}), distributed=True)
    if not is_distributed():
        init_dist(cfg.launcher, **env.get('dist_cfg', {}))


def _start_gloo(cfg: Config) -> None:
    from mmengine.dist import is_distributed

    if cfg.launcher == 'slurm':
        os.environ.setdefault('RANK', os.environ['SLURM_PROCID'])
        os.environ.setdefault('WORLD_SIZE', os.environ['SLURM_NTASKS'])
        os.environ.setdefault('LOCAL_RANK', os.environ.get('SLURM_LOCALID', '0'))
        os.environ.setdefault('MASTER_ADDR', os.environ.get('SLURM_LAUNCH_NODE_IPADDR', '127.0.0.1'))
        os.environ.setdefault('MASTER_PORT', '29500')
    if not is_distributed():
        # The same setting as for mmengine's own start with CUDA.
        seconds = ((cfg.get('env_cfg') or {}).get('dist_cfg') or {}).get('timeout')
        patience = {} if seconds is None else {'timeout': timedelta(seconds=seconds)}
        torch.distributed.init_process_group('gloo', **patience)
    wrapper = dict(cfg.get('model_wrapper_cfg') or {})
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    wrapper.setdefault('broadcast_buffers', False)
    wrapper.setdefault('find_unused_parameters', cfg.get('find_unused_parameters', False))
    wrapper['device_ids'] = None
    cfg.model_wrapper_cfg = wrapper


def _replace_sync_bn(node: Any) -> int:
    """Turns every ``type='SyncBN'`` below ``node`` into ``BN``; returns how many there were."""
    if isinstance(node, dict):
        count = 0
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
            count = 1
        return count + sum(_replace_sync_bn(item) for item in node.values())
    if isinstance(node, (list, tuple)):
        return sum(_replace_sync_bn(item) for item in node)
    return 0
