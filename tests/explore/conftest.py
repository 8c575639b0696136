"""The tiny models and pictures of the attention report's tests."""

from tests.analysis.conftest import pictures, street

__all__ = ['pictures', 'street']
