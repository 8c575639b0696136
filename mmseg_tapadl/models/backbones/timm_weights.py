"""Weights in timm's keys: fetched by timm or read from a file, and fitted to a model of another grid."""

import importlib
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import timm
from torch import Tensor, nn

from mmseg_tapadl.checkpoints.wrapper_names import prefix_before
from mmseg_tapadl.models.backbones.timm_names import tags_of
from mmseg_tapadl.utils.errors import InputError

_SHOWN = 4
# What a file of timm's weights need not hold: this project's own part, which starts as nearly the identity.
_OWN_PART = '.dilation_predictor.'
# Parts of timm's models that act before the blocks, so that a feature of a model that has them is another.
_IN_FRONT = ('patch_embed', 'pos_embed', 'cls_token', 'dist_token', 'reg_token', 'norm_pre', 'rope')
_KERNEL = 'patch_embed.proj.weight'
_REACHABLE_WITHIN = 10.0


def fetch_weights(name: str, tag: str | None) -> dict[str, Tensor]:
    """timm's weights of a model, in its keys, from its cache or from the hub.

    Raises:
        InputError: They cannot be fetched: none exist, no network, a licence that was not accepted.
    """
    full = f'{name.partition(".")[0]}.{tag}' if tag else name
    remedy = 'download the file elsewhere and give pretrained=FILE'
    if not tags_of(name):
        raise InputError(f"pretrained=True: timm has no weights of '{name}'; give a file, or pretrained=None")
    repository = timm.get_pretrained_cfg(full).hf_hub_id
    cached = _cached(repository) if repository else None
    if repository and not cached and (reason := _unreachable()):
        raise InputError(f"the weights of '{full}' cannot be fetched by timm: {reason}; {remedy}")
    # From the cache without asking the hub, which may be out of reach by now.
    overlay = dict(file=cached) if cached else None
    try:
        return timm.create_model(full, pretrained=True, pretrained_cfg_overlay=overlay).state_dict()
    except Exception as error:  # the hub, the network and timm raise many kinds
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"the weights of '{full}' cannot be fetched by timm: {reason}; {remedy}") from error


def _cached(repository: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = repository.partition('@')
    path = try_to_load_from_cache(name, 'model.safetensors', revision=revision or None)
    return path if isinstance(path, str) else None


def _unreachable() -> str | None:
    """Why the hub cannot be reached, asked once; its own client would try for a minute."""
    from huggingface_hub import constants

    address = urlparse(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE:
        return 'HF_HUB_OFFLINE is set, and they are not in the cache'
    if getproxies():  # the way leads elsewhere
        return None
    port = address.port or (443 if address.scheme == 'https' else 80)
    try:
        socket.create_connection((address.hostname or '', port), timeout=_REACHABLE_WITHIN).close()
    except OSError as error:
        return f'no way to {constants.ENDPOINT} ({error})'
    return None


def fitted_weights(
    model: nn.Module, weights: Mapping[str, Tensor], *, depth: int, source: str
) -> dict[str, Tensor]:
    """The weights that a model of timm's takes, by its keys; positions are resampled to its grid as timm does.

    Args:
        model: timm's model. What it no longer has (classifier, later blocks, final norm) is left out.
        weights: By timm's keys, or those of the original release where timm converts them; behind a prefix, as
            wrappers leave one, or as part of a whole segmenter. Pooling (TAP) is taken where it fits.
        depth: Number of blocks that the model has in timm; it may have fewer here.
        source: Names them in errors.

    Raises:
        InputError: Weights of another architecture: with the keys that are missing, of another shape, or that act on a
            feature and have no place.
    """
    own = model.state_dict()
    prefix = prefix_before(weights, own)
    bare = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    fitted = dict(_converted_by_timm(model, bare, source))
    if _KERNEL in bare and bare[_KERNEL].dim() == 4:
        fitted[_KERNEL] = bare[
            _KERNEL
        ]  # timm resamples it to patches of another size, which are another model's
    needed = [key for key in own if _OWN_PART not in key]
    missing = [key for key in needed if key not in fitted]
    misshapen = [
        f'{key} {tuple(fitted[key].shape)} for {tuple(own[key].shape)}'
        for key in needed
        if key in fitted and fitted[key].shape != own[key].shape
    ]
    left_out = range(len(model.blocks), depth)  # type: ignore[arg-type]
    lost = [key for key in fitted if key not in own and _acts_on_features(key, left_out)]
    kinds = {'missing': missing, 'of another shape': misshapen, 'with no place here': lost}
    faults = [f'{len(keys)} {kind}: {", ".join(keys[:_SHOWN])}' for kind, keys in kinds.items() if keys]
    if faults:
        raise InputError(f'{source}: weights of another model: {"; ".join(faults)}')
    return {
        key: fitted[key] for key, value in own.items() if key in fitted and fitted[key].shape == value.shape
    }


def _acts_on_features(key: str, left_out: range) -> bool:
    """Whether a weight of timm's is one of those without which a feature is another one.

    Args:
        key: Its name.
        left_out: The blocks after the last feature.
    """
    part, _, rest = key.partition('.')
    if part == 'blocks':
        number = rest.partition('.')[0]
        return not (number.isdigit() and int(number) in left_out) and _OWN_PART not in key
    return part in _IN_FRONT


def _converted_by_timm(model: nn.Module, weights: dict[str, Tensor], source: str) -> Mapping[str, Any]:
    convert = getattr(importlib.import_module(type(model).__module__), 'checkpoint_filter_fn', None)
    if convert is None:
        return weights
    try:
        return convert(dict(weights), model)
    except (KeyError, IndexError, AttributeError, ValueError, RuntimeError) as error:
        # timm's conversion takes for granted that they are this model's.
        raise InputError(f'{source}: weights of another model: timm cannot convert them ({error})') from error
