"""Loading a config so that a typing error is an error."""

import argparse
import difflib
import inspect
import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmseg_tapadl.agreement.other_data import take_data
from mmseg_tapadl.datasets.named_data import Named, name_of, read_splits
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.shipped import shipped

# Top-level names beside the runner's own arguments: read by mmengine from ``cfg``, by mmseg's tools, by
# ours, or used throughout mmseg's and our own base configs.
_OTHER_NAMES = [
    'runner_type',
    'custom_imports',
    'default_scope',
    'model_wrapper_cfg',
    'sync_bn',
    'find_unused_parameters',
    'compile',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
    'tta_model',
    'tta_pipeline',
    'norm_cfg',
    'data_preprocessor',
    'dataset_type',
    'data_root',
    'crop_size',
    'scale',
    'train_pipeline',
    'val_pipeline',
    'test_pipeline',
    'img_ratios',
    'vis_backends',
    'optimizer',
    'max_iters',
    'load_from_strict',
    'init_from',
    'freeze',
    'cudnn_benchmark',
]
# Of these, what is used only while the file is read, to fill in other keys.
_VARIABLES = {
    'norm_cfg',
    'dataset_type',
    'data_root',
    'crop_size',
    'scale',
    'train_pipeline',
    'val_pipeline',
    'img_ratios',
    'vis_backends',
    'optimizer',
    'max_iters',
    'cudnn_benchmark',
}
_NEAR = 0.85
_SHOWN = 3


class ConfigError(InputError):
    """A config that cannot be used; the message names the file and the key."""


def load_config(
    path: str | os.PathLike,
    cfg_options: list[str] | None = None,
    *,
    data: Named | None = None,
    used: Sequence[str] = (),
) -> Config:
    """Reads a config file, gives it other data, applies options to it, and registers what this package offers with mmseg.

    Args:
        path: A Python config, or one that comes with the package (``configs/fan_demo.py``) from any folder. It is a program and runs as one: read configs of people you trust.
        cfg_options: ``key.subkey=value`` texts as mmengine's ``--cfg-options`` reads them (numbers, lists,
            tuples, None); they win over the file and over ``data``.
        data: Data in place of the config's own, as :func:`~mmseg_tapadl.datasets.named_data.read_splits` takes them: a
            ``data.yaml``, a folder or a config. What else changes by them is logged.
        used: The splits whose files must be there, of a ``data.yaml``.

    Returns:
        The config, with ``default_scope`` ``mmseg``.

    Raises:
        ConfigError: For a missing file, a syntax error, an option without ``=``, or a top-level key that is
            a near miss of one that is read (a person's own variables are left alone).
        InputError: ``data`` cannot be used.
    """
    # What a config names is registered, also by one that was written when importing the package did that.
    import mmseg_tapadl.register  # noqa: F401

    name = found_config(path)
    if not os.path.isfile(name):
        raise ConfigError(f'{name}: no such config file{_similar_file(name)}')
    try:
        cfg = Config.fromfile(name)
    except Exception as error:
        raise ConfigError(f'{name}: cannot be read: {type(error).__name__}: {error}') from error
    if data is not None:
        for note in take_data(cfg, read_splits(data, used), name=name_of(data)):
            print_log(note, logger='current')
    if cfg_options:
        try:
            cfg.merge_from_dict(parse_options(cfg_options))
        except (KeyError, IndexError, TypeError, AssertionError) as error:
            raise ConfigError(f'--cfg-options {" ".join(cfg_options)}: {error}') from error
    check_names(cfg, name)
    for note in unread_options(cfg, cfg_options or []):
        print_log(note, logger='current', level=logging.WARNING)
    drop_stray_deletes(cfg._cfg_dict)
    cfg.setdefault('default_scope', 'mmseg')
    return cfg


def found_config(path: str | os.PathLike) -> str:
    """The file that a name of a config means: itself, or one of the configs that come with the package.

    Args:
        path: As given; what is no file and begins with ``configs/``, or is a file's name alone, is looked for there.
    """
    name = os.fspath(path)
    inner = name.removeprefix('./').removeprefix('configs/')
    known = shipped('configs') / inner
    if os.path.isfile(name) or os.path.isabs(name) or '..' in inner.split('/') or not known.is_file():
        return name
    return str(known)


def parse_options(texts: list[str], option: str = '--cfg-options') -> dict[str, Any]:
    """``['a.b=1', 'c=[x,y]']`` as a dict of values, the way mmengine's ``DictAction`` reads them.

    Args:
        texts: The words after the option.
        option: Its name, for errors.
    """
    for text in texts:
        if '=' not in text:
            raise ConfigError(f'{option} {text}: must look like key=value')
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *texts]).cfg_options if texts else {}


def check_names(cfg: Config, name: str) -> None:
    """Raises :class:`ConfigError` for top-level keys that are near misses of keys that are read."""
    known = set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | set(_OTHER_NAMES)
    for key in cfg:
        # Own variables often extend a known name (train_pipeline_small, crop_size2): not a typing error.
        if key in known or any(re.fullmatch(rf'{word}(_.+|\d+)|(.+_){word}', key) for word in known):
            continue
        near = difflib.get_close_matches(key, known, n=1, cutoff=_NEAR)
        if near:
            raise ConfigError(
                f"{name}: unknown key '{key}': did you mean '{near[0]}'? (A variable of your own needs another name.)"
            )


def unread_options(cfg: Config, texts: list[str]) -> list[str]:
    """Tells of options that change a variable at the top level which nothing reads once the file has been.

    Args:
        cfg: With the options.
        texts: As for :func:`load_config`.

    Returns:
        A sentence for each, with the keys that do reach something and end in the same name.
    """
    read = names_read(cfg)
    notes = []
    for option in parse_options(texts) if texts else ():
        top = option.partition('.')[0]
        if top in read:
            continue
        acting = [
            key
            for key in _keys(cfg._cfg_dict)
            if key.partition('.')[0] in read and key.endswith(f'.{option}')
        ]
        advice = ''
        if acting:
            more = f' (and {len(acting) - _SHOWN} more)' if len(acting) > _SHOWN else ''
            advice = f'; what acts is {", ".join(acting[:_SHOWN])}{more}'
        notes.append(
            f"--cfg-options {option}: changes nothing: '{top}' is a variable of the config, which has been used already{advice}"
        )
    return notes


def names_read(cfg: Config) -> set[str]:
    """The top-level keys of a config that something reads once the file has been."""
    read = (set(inspect.signature(Runner.__init__).parameters) | set(_OTHER_NAMES)) - _VARIABLES
    # These are read only where what they usually fill in has nothing of its own.
    if (cfg.get('model') or {}).get('data_preprocessor'):
        read.remove('data_preprocessor')
    if cfg.get('test_dataloader'):
        read.remove('test_pipeline')
    return read


def _keys(node: Any, before: str = '') -> Iterator[str]:
    """Every key below a node, as ``--cfg-options`` writes it."""
    if isinstance(node, dict):
        items: Any = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    else:
        return
    for key, value in items:
        yield f'{before}{key}'
        yield from _keys(value, f'{before}{key}.')


def drop_stray_deletes(node: Any) -> None:
    """Takes out each ``_delete_`` that found nothing to delete: mmengine would hand it to a constructor."""
    if isinstance(node, dict):
        node.pop('_delete_', None)
        for item in node.values():
            drop_stray_deletes(item)
    elif isinstance(node, (list, tuple)):
        for item in node:
            drop_stray_deletes(item)


def _similar_file(name: str) -> str:
    folder, file = os.path.split(name)
    try:
        near = difflib.get_close_matches(file, os.listdir(folder or '.'), n=1)
    except OSError:
        return ''
    return f' (did you mean {os.path.join(folder, near[0])}?)' if near else ''
