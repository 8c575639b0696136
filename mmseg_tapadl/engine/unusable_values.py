"""Values of a config that are no use to a run, refused before anything starts."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmseg.registry import MODELS

from mmseg_tapadl.engine.building import parts_of
from mmseg_tapadl.engine.config import ConfigError

# What mmengine needs together; a config has all of a row or none.
_TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)
_DECAYS = ('bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult')


def refuse_unusable(cfg: Any) -> None:
    """Raises for values that mmengine takes and stumbles over later, and for parts that lack their companions.

    Args:
        cfg: The config of a training or a test.

    Raises:
        ConfigError: Naming every such key and what to write instead.
    """
    faults = [*_incomplete(cfg), *_counts(cfg)]
    if cfg.get('train_dataloader'):
        faults += [*_decay(cfg.get('optim_wrapper')), *_scaled_rate(cfg), *_compiled(cfg)]
    if faults:
        file = f'{cfg.filename}: ' if getattr(cfg, 'filename', None) else ''
        raise ConfigError(f'{file}{"; ".join(faults)}')


def _incomplete(cfg: Any) -> Iterator[str]:
    for keys in _TOGETHER:
        there = [key for key in keys if cfg.get(key) is not None]
        if there and len(there) < len(keys):
            missing = [key for key in keys if key not in there]
            yield (
                f'{" and ".join(there)} need {" and ".join(missing)}, which the config lacks or sets to None: write it, or '
                f'set all of {", ".join(keys)} to None'
            )


def _counts(cfg: Any) -> Iterator[str]:
    places: Sequence[tuple[str, str]] = [
        (f'{split}_dataloader', 'batch_size') for split in ('train', 'val', 'test')
    ]
    for part, name in [*places, ('train_cfg', 'max_iters'), ('train_cfg', 'val_interval')]:
        config = cfg.get(part)
        if not isinstance(config, dict) or name not in config:
            continue
        value = config[name]
        if value is None and 'batch_sampler' in config:
            continue
        # mmengine takes 1e5 for a number of iterations.
        whole = isinstance(value, int) or (
            part == 'train_cfg' and isinstance(value, float) and value.is_integer()
        )
        if not whole or isinstance(value, bool) or value < 1:
            advice = (
                ' (for a training without validation set val_dataloader, val_cfg and val_evaluator to None)'
                if name == 'val_interval'
                else ''
            )
            yield f'{part}.{name} is {value!r}: write a whole number of at least 1{advice}'


def _decay(wrapper: Any) -> Iterator[str]:
    """Factors of a weight decay that is not stated."""
    if not isinstance(wrapper, dict) or not isinstance(wrapper.get('optimizer'), dict):
        return
    factors = wrapper.get('paramwise_cfg')
    if not isinstance(factors, dict) or wrapper['optimizer'].get('weight_decay') is not None:
        return
    custom = factors.get('custom_keys')
    custom = custom if isinstance(custom, dict) else {}
    named = [f'custom_keys.{key}.decay_mult' for key, own in custom.items() if 'decay_mult' in own]
    named += [name for name in _DECAYS if name in factors]
    if named:
        yield (
            f'optim_wrapper.paramwise_cfg.{named[0]} is a factor of optim_wrapper.optimizer.weight_decay, which is not '
            'stated: write optim_wrapper.optimizer.weight_decay=0.0, or the decay that is wanted'
        )


def _scaled_rate(cfg: Any) -> Iterator[str]:
    scale = cfg.get('auto_scale_lr')
    if scale is not None and not isinstance(scale, dict):
        yield f'auto_scale_lr is {scale!r}: write auto_scale_lr=dict(enable=True, base_batch_size=N)'
    elif scale and scale.get('enable'):
        base = scale.get('base_batch_size')
        if not isinstance(base, (int, float)) or isinstance(base, bool) or base <= 0:
            found = 'is not stated' if base is None else f'is {base!r}'
            yield (
                f'auto_scale_lr.base_batch_size {found}: write the batch size (of all processes together) that '
                'optim_wrapper.optimizer.lr belongs to'
            )


def _compiled(cfg: Any) -> Iterator[str]:
    """torch.compile cannot trace our checkpointing, which leaves running statistics alone when it computes again."""
    wanted = cfg.get('compile')
    if wanted is None or wanted is False:
        return
    if wanted is not True and not isinstance(wanted, dict):
        yield f'compile is {wanted!r}: write True, False, or a dict of options of torch.compile'
    for key, part in parts_of(cfg.get('model'), 'model'):
        cls = MODELS.get(part['type']) if isinstance(part['type'], str) else part['type']
        if part.get('with_cp') and str(getattr(cls, '__module__', '')).startswith('mmseg_tapadl.'):
            yield (
                f'compile={wanted!r} and {key}.with_cp=True exclude each other: write {key}.with_cp=False, or '
                'compile=False'
            )
