"""The sizes in which a model saw the pictures, told when they are new and kept for the report."""

from mmengine.dist import is_main_process
from tqdm import tqdm

# Pictures may all be of other sizes.
_SHOWN = 8


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
        if text in self._sizes:
            return
        self._sizes.add(text)
        if len(self._sizes) <= _SHOWN:
            more = '; further sizes are in the results alone' if len(self._sizes) == _SHOWN else ''
            say(
                f'{self._kind}: the model sees a picture of {as_text(picture)} as {text} (height x width){more}'
            )

    def facts(self) -> dict[str, list[str]]:
        """``input_sizes``: all of them."""
        return {'input_sizes': sorted(self._sizes)}


def as_text(size: tuple[int, ...]) -> str:
    """``HxW``."""
    return '{}x{}'.format(*size)


def say(text: str) -> None:
    """Prints a line, on one process, above a progress bar where there is one."""
    if is_main_process():
        tqdm.write(text)
