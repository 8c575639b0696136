"""What a config describes and cannot be built is wrong input: one line that names the config and the part."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from torch.utils.data import DataLoader

from mmseg_tapadl.agreement.samplers import never_ends
from mmseg_tapadl.engine.config import ConfigError
from mmseg_tapadl.utils import InputError

# What registries and constructors raise for values that they do not take. Errors of devices and of other processes
# (RuntimeError), of files (OSError) and of memory keep their kind.
BUILD_ERRORS = (
    *(LookupError, TypeError, ValueError, AssertionError, AttributeError),
    *(ArithmeticError, NotImplementedError, ImportError),
)
_LONGEST = 400


@contextmanager
def building(cfg: Any, part: str) -> Iterator[None]:
    """While something is built from a config, before a run: what goes wrong is told as a fault of the config.

    Args:
        cfg: The whole config.
        part: Its key, for errors that come from no ``dict(type=...)`` of it.

    Raises:
        ConfigError: Instead of any of :data:`BUILD_ERRORS`, which stays its cause. Errors that already are input errors
            pass.
    """
    try:
        yield
    except BUILD_ERRORS as error:
        raise config_error(cfg, part, error) from error


def config_error(cfg: Any, part: str, error: Exception) -> Exception:
    """The error to raise for one that came up while ``part`` of a config was built; an input error is itself."""
    if isinstance(error, InputError):
        return error
    built = _innermost(error.__traceback__)
    key = _key_of(cfg, built) if built else ''
    # A loop builds its loader and its metrics, too.
    where = f'{key} ({_name(built)})' if key and not part.startswith(key) else part
    # A KeyError shows its text in quotes.
    text = ' '.join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    text = text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'
    file = getattr(cfg, 'filename', None)
    return ConfigError(
        f'{file + ": " if file else ""}{where} cannot be built: {type(error).__name__}: {text or "no reason given"}'
    )


def refuse_no_batch(cfg: Any, loader: DataLoader, key: str) -> None:
    """Raises :class:`ConfigError` for a loader that ends before its first batch.

    Args:
        cfg: The whole config.
        loader: The built loader; one that never ends passes.
        key: Its key in the config.
    """
    sampler, batches = loader.sampler, loader.batch_sampler
    if not hasattr(sampler, '__len__') or never_ends(type(sampler)) or batches is None:
        return
    count, size = len(sampler), getattr(batches, 'batch_size', None)  # type: ignore[arg-type]
    file = f'{cfg.filename}: ' if getattr(cfg, 'filename', None) else ''
    if count == 0:
        raise ConfigError(f'{file}{key}.dataset holds no pictures')
    if isinstance(size, int) and getattr(batches, 'drop_last', False) and count < size:
        raise ConfigError(
            f'{file}{key}.batch_size is {size} and drop_last is True, but there are {count} pictures for each process, '
            f'which make no whole batch: write {key}.batch_size={count} or less, or {key}.drop_last=False'
        )


def _innermost(trace: TracebackType | None) -> dict | None:
    """The ``dict(type=...)`` that was being built when the error came up."""
    found = None
    while trace is not None:
        if trace.tb_frame.f_code.co_name == 'build_from_cfg':
            candidate = trace.tb_frame.f_locals.get('cfg')
            found = candidate if isinstance(candidate, dict) and 'type' in candidate else found
        trace = trace.tb_next
    return found


def _key_of(cfg: Any, built: dict) -> str:
    """Where it stands in the config: the dict that it was made of, else the only one of its type; else nothing."""
    alike = [(key, node) for key, node in parts_of(cfg) if node['type'] == built['type']]
    same = [key for key, node in alike if all(_equal(built.get(name), node[name]) for name in node)]
    keys = same or [key for key, _ in alike]
    return keys[0] if same or len(keys) == 1 else ''


def _equal(first: Any, second: Any) -> bool:
    try:
        return bool(first == second)
    except Exception:  # arrays and whatever else a config may hold
        return False


def parts_of(node: Any, key: str = '') -> Iterator[tuple[str, dict]]:
    """Every ``dict(type=...)`` of a config, with its key."""
    items: Any = ()
    if hasattr(node, 'items'):
        if key and 'type' in node:
            yield key, node
        items = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    for name, item in items:
        yield from parts_of(item, f'{key}.{name}' if key else str(name))


def _name(built: dict | None) -> str:
    kind = (built or {}).get('type')
    return kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
