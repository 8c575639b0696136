"""The temperature: against a fine search, and known from how the labels were drawn."""

import pytest
import torch
from sklearn.metrics import log_loss

from mmseg_tapadl.evaluation.temperature import fit_temperature, negative_log_likelihood, sampled_pixels
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
