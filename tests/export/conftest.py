from tests.robustness.conftest import tiny

__all__ = ['tiny']
