"""Constructors that answer an unknown argument with the list of valid ones."""

import difflib
import functools
import inspect
from collections.abc import Iterable
from typing import TypeVar

from mmseg_tapadl.utils.errors import InputError

Class = TypeVar('Class', bound=type)


class UnknownArgumentError(InputError, TypeError):
    """A constructor was given a keyword that it does not have."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ''


def lists_valid_arguments(cls: Class) -> Class:
    """Class decorator: an unknown keyword argument raises an :class:`UnknownArgumentError` that lists the valid ones.

    Where ``__init__`` passes ``**kwargs`` to its base class, the base's arguments count as valid, and so on up.
    """
    init = vars(cls)['__init__']
    known = tuple(dict.fromkeys(_keywords(cls)))

    @functools.wraps(init)
    def checked(self, *args, **kwargs):
        unknown = [name for name in kwargs if name not in known]
        if unknown:
            hints = ', '.join(f"'{name}'{did_you_mean(name, known)}" for name in unknown)
            raise UnknownArgumentError(f'{cls.__name__} has no argument {hints}; valid: {", ".join(known)}')
        init(self, *args, **kwargs)

    setattr(cls, '__init__', checked)  # noqa: B010 (mypy forbids the plain assignment)
    return cls


def _keywords(cls: type) -> Iterable[str]:
    for base in cls.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)['__init__']).parameters.values())[1:]
        yield from (p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return
