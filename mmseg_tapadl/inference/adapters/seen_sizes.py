"""The sizes in which a model saw the pictures, told when they are new and kept for the report."""

from mmengine.dist import is_main_process


class SeenSizes:
    """Collects the sizes.

    Args:
        kind: Of the model, as ``--model`` has it; begins what is printed.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._sizes: set[str] = set()

    def add(self, picture: tuple[int, ...], seen: tuple[int, ...]) -> None:
        """Takes the height and width of a picture, and those that the model saw it in."""
        text = as_text(seen)
        if text not in self._sizes:
            self._sizes.add(text)
            say(f'{self._kind}: the model sees a picture of {as_text(picture)} as {text} (height x width)')

    def facts(self) -> dict[str, list[str]]:
        """``input_sizes``: all of them."""
        return {'input_sizes': sorted(self._sizes)}


def as_text(size: tuple[int, ...]) -> str:
    """``HxW``."""
    return '{}x{}'.format(*size)


def say(text: str) -> None:
    """Prints a line, on one process."""
    if is_main_process():
        print(text, flush=True)
