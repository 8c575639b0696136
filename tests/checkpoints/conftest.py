"""The tiny run of the engine's tests, whose config these tests load weights into."""

from tests.engine.conftest import tiny  # noqa: F401
