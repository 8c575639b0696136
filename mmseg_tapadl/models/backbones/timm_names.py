"""timm's names, and what timm knows of the weights behind them."""

import difflib

import timm

from mmseg_tapadl.utils.errors import InputError


def check_timm_name(model: str) -> str:
    """Returns a name of timm's, with or without a tag, as it is.

    Raises:
        InputError: timm has no model of this name; near misses are listed.
    """
    name, _, tag = str(model).partition('.')
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        hint = f'; near: {", ".join(near)}' if near else ''
        raise InputError(f"model='{model}': timm {timm.__version__} has no model of this name{hint}")
    tags = (
        timm.list_pretrained(name)
        if hasattr(timm, 'list_pretrained')
        else timm.list_models(f'{name}.*', pretrained=True)
    )
    if tag and model not in tags:
        known = ', '.join(entry.partition('.')[2] for entry in tags) or 'none'
        raise InputError(f"model='{model}': no weights with the tag '{tag}'; its tags: {known}")
    return model


def normalisation_of(model: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation that a model's weights expect, of RGB from 0 to 255."""
    cfg = timm.get_pretrained_cfg(check_timm_name(model))
    return [255 * value for value in cfg.mean], [255 * value for value in cfg.std]
