"""Starting and ending a run: processes, devices, errors and the exit status."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmseg_tapadl.checkpoints.checkpoint_io import DiskFullError
from mmseg_tapadl.engine.config import ConfigError
from mmseg_tapadl.engine.errors import (
    EXIT_DISK_FULL,
    EXIT_ERROR,
    EXIT_INPUT,
    EXIT_NOT_FINITE,
    NotFiniteError,
    RunStopped,
)
from mmseg_tapadl.utils import InputError

LAUNCHERS = ('none', 'pytorch', 'slurm')
# What the other processes see when one has died; their traceback would only hide the cause.
_PEER_LOST = (
    'closed by peer',
    'Connection reset',
    'Broken pipe',
    'Socket Timeout',
    'recvBytes',
    'remote process',
)


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
        torch.distributed.init_process_group('gloo')
    wrapper = dict(cfg.get('model_wrapper_cfg') or {})
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    wrapper.setdefault('broadcast_buffers', False)
    wrapper.setdefault('find_unused_parameters', cfg.get('find_unused_parameters', False))
    wrapper['device_ids'] = None
    cfg.model_wrapper_cfg = wrapper


@contextmanager
def main_process_first() -> Iterator[bool]:
    """The main process does the block first, the others wait for it; yields whether this is the main one."""
    from mmengine.dist import barrier, is_main_process

    first = is_main_process()
    yield first
    barrier()


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


def exit_status_of(error: BaseException) -> int:
    """The documented exit status of an error; see :mod:`mmseg_tapadl.engine.errors`."""
    if isinstance(error, RunStopped):
        return error.exit_status
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, NotFiniteError):
        return EXIT_NOT_FINITE
    if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return EXIT_DISK_FULL
    if isinstance(error, InputError):
        return EXIT_INPUT
    return EXIT_ERROR


def run_tool(tool: str, body: Callable[[], None]) -> int:
    """Runs a tool's body and turns what goes wrong into one clear line and an exit status.

    Foreseen errors are one line on stderr; others keep their traceback. Both are in the log file once
    there is one. In distributed training the process that failed speaks first and in full; the others
    say only that they stopped because of it.

    Args:
        tool: The tool's name, which begins the line.
        body: What to do.

    Returns:
        The exit status.
    """
    distributed = int(os.environ.get('WORLD_SIZE', os.environ.get('SLURM_NTASKS', '1'))) > 1
    rank = f' (process {os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))})' if distributed else ''
    try:
        body()
    except SystemExit as error:
        return int(error.code or 0) if isinstance(error.code, (int, type(None))) else EXIT_INPUT
    except (Exception, KeyboardInterrupt) as error:
        status = exit_status_of(error)
        if status == EXIT_ERROR and distributed and any(text in str(error) for text in _PEER_LOST):
            print(f'{tool}{rank}: stopped, because another process stopped', file=sys.stderr, flush=True)
        else:
            _report(f'{tool}{rank}', error, status)
        if distributed:
            # The peers may hang in a collective call or be gone: an orderly end would wait for them.
            sys.stdout.flush()
            os._exit(status)
        return status
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    return 0


def _report(who: str, error: BaseException, status: int) -> None:
    if isinstance(error, RunStopped):
        text = f'{who}: {error}'
    elif isinstance(error, KeyboardInterrupt):
        text = f'{who}: interrupted; nothing was saved since the last checkpoint'
    elif status == EXIT_ERROR:
        text = f'{"".join(traceback.format_exception(error))}{who}: error: {type(error).__name__}: {error}'
    elif status == EXIT_DISK_FULL and not isinstance(error, DiskFullError):
        text = f'{who}: error: the disk is full ({error}). Free some space, or set another --work-dir.'
    else:
        text = f'{who}: error: {error}'
    print(text, file=sys.stderr, flush=True)
    _into_log_file(text if status == EXIT_ERROR else f'{text}\n{"".join(traceback.format_exception(error))}')


def _into_log_file(text: str) -> None:
    """Appends to the log file alone, if it can be written; the screen has it already."""
    for logger in list(MMLogger._instance_dict.values()):
        for handler in logger.handlers:
            file = getattr(handler, 'baseFilename', None)
            if file and os.path.exists(file):
                # On a full disk what there is to say must not be lost to a second error.
                with suppress(OSError), open(file, 'a', encoding='utf-8') as log:
                    log.write(f'{text}\n')
