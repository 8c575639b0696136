"""A temperature fitted on one half of a data set, and what it does to the other half."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from mmseg_tapadl.agreement import scored_void
from mmseg_tapadl.evaluation.class_counts import counted_pixels, labels_of_sample
from mmseg_tapadl.evaluation.confidence import ConfidenceCounts
from mmseg_tapadl.evaluation.picture_score import score_picture
from mmseg_tapadl.evaluation.temperature import (
    at_the_end_of_the_range,
    fit_temperature,
    pixels_to_fit_on,
    sampled_pixels,
)
from mmseg_tapadl.inference.temperature import at_temperature
from mmseg_tapadl.robustness.cell_data import loader_for
from mmseg_tapadl.robustness.measured_model import MeasuredModel
from mmseg_tapadl.robustness.sweep import clean_pictures, picture_names
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.config_values import digest_of


@torch.no_grad()
def calibrate(model: MeasuredModel, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Fits on the pictures 0, 2, 4, ... of the clean data set and reports on 1, 3, 5, ...

    At most 400,000 pixels, as many of every picture, are kept to fit on; the report is over all labelled pixels.

    Args:
        model: A model and its test data.
        say: Told what is going on.

    Returns:
        ``temperature``; ``before`` and ``after``, the confidence metrics of the other half; the numbers of pictures; and
        what tells the model and the pictures again: ``name``, ``weights`` and ``pictures`` (digests, or None).

    Raises:
        InputError: For a model that gives neither logits nor all probabilities, a data set of fewer than two pictures, or
            one half without labelled pixels.
    """
    clean = clean_pictures(model)
    count, ignore_index, names = len(clean), scored_void(model.config), picture_names(clean)
    num_classes = len(clean.metainfo['classes'])
    if count < 2:
        raise InputError(
            'a temperature is fitted on one half of the pictures and reported on the other: two are needed'
        )
    model.prepare()
    fit, report = list(range(0, count, 2)), list(range(1, count, 2))
    share = max(1, pixels_to_fit_on(num_classes) // len(fit))
    checks: dict[str, Any] = dict(
        num_classes=num_classes, ignore_index=ignore_index, void_source=model.void_source
    )
    kept = []
    for index, logits, predicted, labelled, source in _answers(model, clean, fit):
        counted_pixels(predicted, labelled, source=source, **checks)
        kept.append(
            sampled_pixels(
                logits,
                labelled,
                count=share,
                picture=index,
                ignore_index=ignore_index,
                source=source,
            )
        )
    temperature = fit_temperature(
        torch.cat([part[0] for part in kept], dim=1), torch.cat([part[1] for part in kept])
    )
    say(
        f'temperature {temperature:.4f}, fitted on {sum(part[1].numel() for part in kept)} pixels of {len(fit)} pictures, '
        f'reported on {len(report)}'
    )
    if at_the_end_of_the_range(temperature):
        say(
            'note: this is the end of the range that was looked at: no temperature makes this model as sure as it is right'
        )
    counts = {'before': ConfidenceCounts(), 'after': ConfidenceCounts()}
    for _, logits, predicted, labelled, source in _answers(model, clean, report):
        for name, divisor in (('before', 1.0), ('after', temperature)):
            score = score_picture(predicted, labelled, source=source, logits=logits / divisor, **checks)
            assert score.confidence is not None
            counts[name] += score.confidence
    if not counts['before'].pixels:
        raise InputError('there is no labelled pixel in the half of the pictures that is reported on')
    return {
        'name': model.name,
        'weights': model.weights(),
        'pictures': digest_of(names),
        'temperature': temperature,
        'fitted_on': len(fit),
        'reported_on': len(report),
        **{name: found.metrics() for name, found in counts.items()},
    }


def _answers(
    model: MeasuredModel, clean: Any, indices: list[int]
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor, str]]:
    """The number, the logits, the prediction, the label and the name of some pictures."""
    loader = loader_for(torch.utils.data.Subset(clean, indices), batch_size=1, num_workers=0)
    for index, batch in zip(indices, loader, strict=True):
        for _, answer, prediction in model.answers(batch):
            prediction = at_temperature(prediction, 1.0, answer.metainfo['img_path'])
            yield index, prediction.logits, *labels_of_sample(answer.to_dict())
