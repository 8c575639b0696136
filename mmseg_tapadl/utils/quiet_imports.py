"""Importing mmseg without what it says about optional parts that are absent and not needed."""

import contextlib
import io
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Silences what mmseg and mmcv print and warn while they are imported for the first time."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
        yield
