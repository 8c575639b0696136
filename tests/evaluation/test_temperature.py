"""The temperature: against a fine search, and known from how the labels were drawn."""

import pytest
import torch
from sklearn.metrics import log_loss

from mmseg_tapadl.evaluation.temperature import (
    at_the_end_of_the_range,
    fit_temperature,
    logits_of,
    negative_log_likelihood,
    pixels_to_fit_on,
    sampled_pixels,
)
from mmseg_tapadl.utils import InputError


@pytest.fixture(scope='module')
def drawn():
    """Logits, and labels that their softmax at temperature 2 draws: the model is too sure."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 40_000, generator=generator) * 4
    labels = torch.multinomial((logits / 2).softmax(dim=0).T, 1, generator=generator)[:, 0]
    return logits, labels


def test_it_is_the_temperature_that_the_labels_were_drawn_with(drawn):
    found = fit_temperature(*drawn)
    assert found == pytest.approx(2.0, rel=0.03)
    best = min((0.02 * step for step in range(50, 200)), key=lambda t: negative_log_likelihood(*drawn, t))
    assert found == pytest.approx(best, abs=0.02)


def test_the_likelihood_is_that_of_scikit_learn(drawn):
    logits, labels = drawn
    theirs = log_loss(labels, (logits.double() / 1.7).softmax(dim=0).T.numpy(), labels=range(5))
    assert negative_log_likelihood(logits, labels, 1.7) == pytest.approx(theirs, rel=1e-9)


def test_sampled_pixels_are_labelled_and_bounded():
    logits = torch.arange(60.0).view(1, 6, 10).repeat(3, 1, 1)
    labelled = torch.full((6, 10), 255)
    labelled[2] = 1
    values, labels = sampled_pixels(logits, labelled, count=4, picture=7)
    assert values.shape == (3, 4) and labels.tolist() == [1] * 4
    assert set(values[0].tolist()) <= set(range(20, 30)) and len(set(values[0].tolist())) == 4
    assert torch.equal(values, sampled_pixels(logits, labelled, count=4, picture=7)[0])
    assert sampled_pixels(logits, labelled, count=99, picture=7)[1].numel() == 10


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(InputError, match='no labelled pixel'):
        fit_temperature(torch.zeros(3, 0), torch.zeros(0, dtype=torch.long))
    with pytest.raises(InputError, match='finite logits'):
        fit_temperature(torch.full((2, 1), torch.nan), torch.zeros(1, dtype=torch.long))
    with pytest.raises(InputError, match='finite logits'):
        fit_temperature(torch.tensor([[0.0], [torch.inf]]), torch.zeros(1, dtype=torch.long))
    broken = torch.zeros(2, 3, 3)
    broken[1, 1, 1] = torch.nan
    with pytest.raises(InputError, match=r'ulm_17\.png: a temperature needs finite logits'):
        sampled_pixels(broken, torch.zeros(3, 3), count=9, picture=0, source='ulm_17.png')


def test_a_class_that_is_never_predicted_changes_nothing(drawn):
    logits, labels = drawn
    masked = torch.cat([logits, torch.full_like(logits[:1], -torch.inf)])
    assert fit_temperature(masked, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-6)


def test_probabilities_do_as_well_as_logits(drawn):
    logits, labels = drawn
    known = logits_of(probabilities=logits.softmax(dim=0))
    assert fit_temperature(known, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-4)
    assert torch.allclose((known / 3).softmax(dim=0), (logits / 3).softmax(dim=0), atol=1e-6)
    # What rounding made 0 stays finite.
    certain = logits_of(probabilities=torch.tensor([[1.0], [0.0]]))
    assert torch.isfinite(certain).all() and certain.softmax(dim=0)[0] == 1
    assert logits_of() is None


def test_the_end_of_the_range_is_told(drawn):
    logits, labels = drawn
    assert not at_the_end_of_the_range(fit_temperature(logits, labels))
    right = logits.argmax(dim=0)
    assert at_the_end_of_the_range(fit_temperature(logits, right))
    assert at_the_end_of_the_range(fit_temperature(logits, (right + 1) % 5))


def test_the_numbers_that_are_kept_are_bounded():
    assert pixels_to_fit_on(19) == 400_000 and pixels_to_fit_on(2) == 400_000
    assert pixels_to_fit_on(150) * 150 <= 19 * 400_000
