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
    if tag and tag not in tags_of(name):
        known = ', '.join(tags_of(name)) or 'none'
        raise InputError(f"model='{model}': no weights with the tag '{tag}'; its tags: {known}")
    return model


def tags_of(model: str) -> list[str]:
    """The tags of the weights that timm has for a model."""
    name = model.partition('.')[0]
    return [entry.partition('.')[2] for entry in timm.list_models(f'{name}.*', pretrained=True)]


def tag_in(model: str, pretrained: object) -> str | None:
    """The tag of timm's weights that ``pretrained`` names, alone or behind the model's name; None: it names none."""
    tag = str(pretrained).removeprefix(f'{model.partition(".")[0]}.')
    return tag if isinstance(pretrained, str) and tag in tags_of(model) else None


def normalisation_of(model: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation that a model's weights expect, of RGB from 0 to 255."""
    cfg = timm.get_pretrained_cfg(check_timm_name(model))
    return [255 * value for value in cfg.mean], [255 * value for value in cfg.std]
