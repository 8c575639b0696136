"""Whether the page can be served, asked before any model is loaded."""

import importlib.util
import socket

from mmseg_tapadl.utils import InputError, shown


def check_nicegui() -> None:
    """Raises ``InputError`` where the optional library is missing."""
    if importlib.util.find_spec('nicegui') is None:
        raise InputError('the live page needs nicegui: pip install "mmseg_tapadl[explore]"')


def check_port(host: str, port: int) -> None:
    """Raises ``InputError`` where the page cannot listen."""
    if not 1 <= port <= 65535:
        raise InputError(f'--port {port}: must be from 1 to 65535')
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise InputError(
            f'--host {shown(host)} --port {port}: cannot listen there ({reason}); give others'
        ) from error
