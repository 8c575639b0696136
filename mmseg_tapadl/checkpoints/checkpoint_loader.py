"""Makes every entry of mmengine and mmseg read checkpoints through :mod:`checkpoint_io`.

``CheckpointLoader`` asks a table of prefixes who reads a path; :func:`register_loaders` puts ours under
every prefix. ``load_from``, ``resume``, ``init_cfg=dict(type='Pretrained')``, ``load_checkpoint``,
``mmseg.apis.init_model`` and the inferencers all go through that table.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import get_dist_info
from mmengine.runner import CheckpointLoader, get_external_models, get_mmcls_models, get_torchvision_models

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, read_checkpoint

_TRUSTED: set[str] = set()


def trust_checkpoint(path: str | os.PathLike) -> None:
    """Lets this process run the program inside one file (``--trust-checkpoint`` of the tools).

    Args:
        path: The file; it gets all the rights of the person who started the process.
    """
    _TRUSTED.add(os.path.realpath(path))


def load_plain_local(filename: str, map_location: Any = None) -> dict:
    """Reads a local file for mmengine's ``CheckpointLoader``; see :func:`read_checkpoint`."""
    path = os.path.expanduser(filename)
    return read_checkpoint(path, map_location=map_location, trust=os.path.realpath(path) in _TRUSTED)


def load_plain_http(filename: str, map_location: Any = None) -> dict:
    """Downloads a file once into torch's cache and reads it as data.

    A name that ends in ``-<first hex digits of its SHA-256>.pth``, the custom of torch and OpenMMLab, is
    checked against these digits while it is downloaded.
    """
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    target = folder / Path(urlparse(filename).path).name
    rank, processes = get_dist_info()
    if rank == 0 and not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        digits = target.stem.rpartition('-')[2]
        known = digits if len(digits) >= 8 and set(digits) <= set('0123456789abcdef') else None
        try:
            torch.hub.download_url_to_file(filename, str(target), hash_prefix=known, progress=True)
        except (OSError, RuntimeError) as error:
            raise CheckpointError(f'{filename}: cannot be downloaded: {error}') from None
    if processes > 1:
        torch.distributed.barrier()
    return read_checkpoint(target, map_location=map_location)


def load_plain_named(filename: str, map_location: Any = None) -> dict:
    """Reads a model of a public zoo by its name (``torchvision://resnet50``, ``open-mmlab://...``)."""
    scheme, _, name = filename.partition('://')
    tables = {
        'torchvision': get_torchvision_models,
        'modelzoo': get_torchvision_models,
        'mmcls': get_mmcls_models,
    }
    address = tables.get(scheme, get_external_models)().get(name)
    if address is None:
        raise CheckpointError(f'{filename}: {scheme} has no model of this name')
    checkpoint = load_plain_http(address, map_location)
    if scheme == 'mmcls':
        weights = checkpoint.get('state_dict', checkpoint)
        prefix = 'backbone.'
        return {
            'state_dict': {
                key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)
            }
        }
    return checkpoint


def load_plain_nowhere(filename: str, map_location: Any = None) -> dict:
    """Refuses storage services whose readers in mmengine would unpickle programs."""
    raise CheckpointError(
        f'{filename}: not read from this kind of address; download the file and name it by its path'
    )


def register_loaders() -> None:
    """Puts the readers of this module under every prefix mmengine knows."""
    register = CheckpointLoader.register_scheme
    register(prefixes='', loader=load_plain_local, force=True)
    register(prefixes=['http://', 'https://'], loader=load_plain_http, force=True)
    zoos = ['torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://', 'mmcls://']
    register(prefixes=zoos, loader=load_plain_named, force=True)
    services = ['pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://']
    register(prefixes=services, loader=load_plain_nowhere, force=True)
