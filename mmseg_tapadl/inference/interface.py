"""What any model must do to be measured and to label pictures: the whole contract, on one screen.

A predictor gets pictures and gives a :class:`Prediction` for each.

===============  =====================================================================================================
picture          numpy (H, W, 3), uint8, 0 to 255, channels **RGB**, of any size; it is not changed
labels           torch (H, W), any integer type: the class of every pixel, 0 to C - 1, in the picture's size
confidence       torch (H, W), floating, 0 to 1: the probability of the class in ``labels``; or None: not known
probabilities    torch (C, H, W), floating, 0 to 1, their sum over C is 1; or None: not known
name             what to call the model
classes          the names of the C classes by id; or None: the ids are those of the data set that is measured
palette          RGB of each class, 0 to 255, by id; or None
identity()       plain JSON values that differ wherever the predictions may; finished cells of a sweep belong to them
unknown          what ``identity()`` cannot tell, in words, to be shown once; or None
facts()          plain JSON values for the report: what was learnt while predicting, such as the sizes that a model saw
===============  =====================================================================================================

Tensors may lie on any device. What breaks the contract is named with its picture by
:func:`mmseg_tapadl.inference.checked.checked_predictions`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor


class Prediction:
    """The labels of one picture and, where the model can tell, how sure it is; see the table above.

    Args:
        labels: (H, W), class ids.
        confidence: (H, W), the probability of ``labels``.
        probabilities: (C, H, W), of every class.
        logits: (C, H, W), in place of both: the probabilities are their softmax, computed when first asked for.
    """

    def __init__(
        self,
        labels: Tensor,
        *,
        confidence: Tensor | None = None,
        probabilities: Tensor | None = None,
        logits: Tensor | None = None,
    ) -> None:
        self.labels = labels
        self.logits = logits
        self._confidence = confidence
        self._probabilities = probabilities

    @cached_property
    def probabilities(self) -> Tensor | None:
        """(C, H, W), float32 where they come from logits."""
        return self._probabilities if self.logits is None else self.logits.float().softmax(dim=0)

    @cached_property
    def confidence(self) -> Tensor | None:
        """(H, W): the probability of ``labels``."""
        if self._confidence is not None or self.probabilities is None:
            return self._confidence
        return self.probabilities.gather(0, self.labels[None].long())[0]


class PicturePredictor(ABC):
    """A model as the table above describes it."""

    name: str
    classes: tuple[str, ...] | None = None
    palette: list[list[int]] | None = None
    unknown: str | None = None

    @abstractmethod
    def predict(self, pictures: Sequence[np.ndarray]) -> list[Prediction]:
        """Labels pictures, each (H, W, 3), uint8, RGB; their sizes may differ. A sweep gives them one at a time."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the predictions depend on: digests of files, options, versions."""

    def facts(self) -> dict[str, Any]:
        """What was learnt while predicting."""
        return {}
