"""Where the configs and tools are that come with the package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(folder: str) -> Path:
    """A folder that stands beside the package in a checkout and in its folder ``shipped`` when it is installed.

    Args:
        folder: ``'configs'`` or ``'tools'``.
    """
    installed = _PACKAGE / 'shipped' / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder
