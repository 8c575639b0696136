"""A name that configs written for version 0.1 hold."""

from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ReturnMemoryHook(Hook):
    """Does nothing: the tools tell the C library once, at their start, what to give back (``utils/process.py``).

    Args:
        interval: Taken and not used.
    """

    def __init__(self, interval: int = 50) -> None:
        pass
