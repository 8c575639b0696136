"""What diversified attention makes and keeps: no N x M tensor, and no more matrix products than attention."""

import torch

from mmseg_tapadl.layers import diversified_attention
from mmseg_tapadl.layers.textbook import textbook_diversified_attention
from tests.layers.attention_inputs import random_attention_inputs
from tests.layers.tensor_census import TensorCensus, kept_for_backward, num_bytes

IMAGES, HEADS, QUERIES, KEYS, CHANNELS = 2, 8, 1500, 2048, 4


def attention_census(function) -> TensorCensus:
    inputs = random_attention_inputs(IMAGES, HEADS, QUERIES, KEYS, CHANNELS)
    q, k, v = (x.requires_grad_() for x in inputs)
    with TensorCensus() as census:
        out, similarity = function(q, k, v)
        torch.autograd.backward([out, similarity], [torch.ones_like(out), torch.ones_like(similarity)])
    assert q.grad.abs().sum() > 0
    return census


def test_no_matrix_of_queries_by_keys():
    assert attention_census(diversified_attention).largest < QUERIES * KEYS
    # The census does see such a matrix where there is one.
    assert attention_census(textbook_diversified_attention).largest == IMAGES * HEADS * QUERIES * KEYS


def test_the_matrix_products_are_those_of_attention():
    # Forward: the scores and the values. Backward: the scores again, and the gradients of P, q, k and v.
    products = 7
    expected = products * IMAGES * HEADS * QUERIES * KEYS * CHANNELS
    assert attention_census(diversified_attention).multiplications == expected


def test_kept_are_the_inputs_and_two_vectors():
    inputs = [x.requires_grad_() for x in random_attention_inputs(IMAGES, HEADS, 60, 50, CHANNELS)]
    with kept_for_backward() as kept:
        diversified_attention(*inputs)
    vectors = 2 * IMAGES * 50 * 4
    assert num_bytes(kept) == num_bytes(inputs) + vectors


def test_kept_in_half_precision_are_the_inputs_as_they_came():
    inputs = random_attention_inputs(IMAGES, HEADS, 60, 50, CHANNELS, dtype=torch.bfloat16)
    with kept_for_backward() as kept:
        diversified_attention(*[x.requires_grad_() for x in inputs])
    assert num_bytes(kept) == num_bytes(inputs) + 2 * IMAGES * 50 * 4
