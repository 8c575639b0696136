"""Layer-wise learning-rate decay for the encoders of this toolkit, written in a config as mmseg's users write it."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmseg.engine.optimizers import LearningRateDecayOptimizerConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from mmseg_tapadl.utils import InputError

_ENCODER = 'backbone.'
_KNOWN = {'decay_rate', 'decay_type', 'num_layers', 'custom_keys'}
# mmseg's own, which know their encoders by the names of their classes; the second is the older spelling of the first.
_OF_MMSEG = ('LearningRateDecayOptimizerConstructor', 'LayerDecayOptimizerConstructor')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class EncoderLayerDecayConstructor(LearningRateDecayOptimizerConstructor):
    """mmseg's layer-wise decay for every encoder that knows its layers, in place of a list of class names.

    A parameter of layer l of L gets the rate times ``decay_rate ** (L + 1 - l)``: the patch embedding is layer 0, block
    i is layer i + 1, the decode head and what was never pretrained (TAP) have the full rate. Biases, norms, scales,
    positions and tokens have no weight decay.

    Example::

        optim_wrapper = dict(
            optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
            constructor='EncoderLayerDecayConstructor',
            paramwise_cfg=dict(decay_rate=0.8, decay_type='layer_wise', custom_keys={'decode_head': dict(lr_mult=10.0)}),
        )

    Args of ``paramwise_cfg``: ``decay_rate`` (above 0, at most 1), ``decay_type`` (``'layer_wise'`` only),
    ``num_layers`` (the encoder's own; another one is refused), ``custom_keys`` (``lr_mult`` and ``decay_mult`` of
    parameters whose name contains the key; the longest key decides).

    Raises:
        InputError: An encoder that does not know its layers, or options that are none of these.
    """

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: Any) -> None:
        """Fills ``params`` with one group for each layer and weight decay."""
        encoder: Any = getattr(module, 'backbone', None)
        decay_rate = self._checked(encoder)
        groups: dict[tuple, dict] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            top = _depth(encoder) + 1
            layer = encoder.layer_of(name.removeprefix(_ENCODER)) if name.startswith(_ENCODER) else top
            lr_mult, decay_mult = self._custom(name)
            no_decay = (
                parameter.ndim <= 1
                or name.endswith('.bias')
                or getattr(encoder, 'has_no_decay', _never)(name)
            )
            weight_decay = 0.0 if no_decay else (self.base_wd or 0.0) * decay_mult
            scale = decay_rate ** (top - layer) * lr_mult
            group = groups.setdefault(
                (layer, scale, weight_decay),
                {
                    'params': [],
                    'param_names': [],
                    'lr': self.base_lr * scale,
                    'lr_scale': scale,
                    'weight_decay': weight_decay,
                },
            )
            group['params'].append(parameter)
            group['param_names'].append(name)
        params.extend(groups[key] for key in sorted(groups))
        rates = [group['lr'] for group in params]
        print_log(
            f'layer-wise decay {decay_rate}: {len(groups)} groups, rates {min(rates):.3g} to {max(rates):.3g}',
            logger='current',
        )

    def _checked(self, encoder: Any) -> float:
        options: Mapping[str, Any] = self.paramwise_cfg
        unknown = sorted(set(options) - _KNOWN)
        if unknown:
            raise InputError(
                f'paramwise_cfg: unknown {", ".join(unknown)}; valid: {", ".join(sorted(_KNOWN))}'
            )
        if not hasattr(encoder, 'layer_of'):
            raise InputError(
                f'EncoderLayerDecayConstructor: {type(encoder).__name__} does not say which layer a parameter belongs to; '
                "leave optim_wrapper.constructor out, or use mmseg's own for its encoders"
            )
        if options.get('decay_type', 'layer_wise') != 'layer_wise':
            raise InputError(
                f"paramwise_cfg.decay_type='{options['decay_type']}': only 'layer_wise' is known here"
            )
        if options.get('num_layers', _depth(encoder)) != _depth(encoder):
            raise InputError(
                f'paramwise_cfg.num_layers={options["num_layers"]}: the encoder has {_depth(encoder)}; leave it out'
            )
        rate = options.get('decay_rate')
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise InputError(f'paramwise_cfg.decay_rate={rate!r}: it must be above 0 and at most 1')
        return float(rate)

    def _custom(self, name: str) -> tuple[float, float]:
        custom: Mapping[str, Any] = self.paramwise_cfg.get('custom_keys') or {}
        keys = sorted((key for key in custom if key in name), key=lambda key: (-len(key), key))
        chosen = custom[keys[0]] if keys else {}
        return chosen.get('lr_mult', 1.0), chosen.get('decay_mult', 1.0)


def _depth(encoder: Any) -> int:
    # mmseg's MiT has its blocks by stage under num_layers.
    return encoder.num_blocks if hasattr(encoder, 'num_blocks') else encoder.num_layers


def with_own_constructor(optim_wrapper: Any, encoder: Any) -> Any:
    """An ``optim_wrapper`` config as :class:`EncoderLayerDecayConstructor` takes it, where mmseg's constructor is named.

    mmseg's knows BEiT, MAE and ConvNeXt alone. Where the encoder knows its layers, what is written for mmseg's means the
    same for ours.

    Args:
        optim_wrapper: Config; not changed. Anything else passes.
        encoder: The model's encoder.
    """
    if (
        not isinstance(optim_wrapper, Mapping)
        or optim_wrapper.get('constructor') not in _OF_MMSEG
        or not hasattr(encoder, 'layer_of')
    ):
        return optim_wrapper
    changed = copy.deepcopy(optim_wrapper)
    changed['constructor'] = EncoderLayerDecayConstructor.__name__  # type: ignore[index]
    options = changed.get('paramwise_cfg') or {}
    if 'layer_decay_rate' in options:
        options['decay_rate'] = options.pop('layer_decay_rate')
    if options.get('decay_type') == 'layer_wise_vit':
        options['decay_type'] = 'layer_wise'
    return changed


def _never(name: str) -> bool:
    return False
