"""Randomness by place: what sample p of a run is does not depend on processes, workers or history."""

import itertools
import pickle
import random

import numpy as np
import torch

from mmseg_tapadl.engine.repeatable.positioned_sampler import PositionedSampler, SamplePosition
from mmseg_tapadl.engine.repeatable.random_streams import seeded, stream_seed


def first(sampler: PositionedSampler, count: int) -> list[SamplePosition]:
    return list(itertools.islice(iter(sampler), count))


def test_each_round_is_a_permutation_and_rounds_differ():
    drawn = first(PositionedSampler(range(7), seed=3), 21)
    rounds = [drawn[i : i + 7] for i in (0, 7, 14)]
    assert all(sorted(r) == list(range(7)) for r in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    assert [sample.position for sample in drawn] == list(range(21))
    assert first(PositionedSampler(range(7), seed=4), 21) != drawn
    assert first(PositionedSampler(range(7), shuffle=False, seed=4), 9) == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_skipping_equals_drawing():
    drawn = first(PositionedSampler(range(5), seed=0), 40)
    for count in (0, 1, 4, 5, 33):
        sampler = PositionedSampler(range(5), seed=0)
        sampler.skip(count)
        rest = first(sampler, 40 - count)
        assert rest == drawn[count:] and rest[0].position == count


def test_processes_share_the_stream_of_one():
    alone = first(PositionedSampler(range(5), seed=1), 24)
    parts = []
    for rank in range(3):
        sampler = PositionedSampler(range(5), seed=1)
        sampler.rank, sampler.world_size = rank, 3
        sampler.skip(2)
        parts.append(first(sampler, 6))
    assert [sample for group in zip(*parts, strict=True) for sample in group] == alone[6:24]


def test_a_position_survives_the_way_to_a_worker():
    there = pickle.loads(pickle.dumps(SamplePosition(4, 99)))
    assert there == 4 and there.position == 99 and [10, 11, 12, 13, 14][there] == 14


def draw() -> tuple:
    return random.random(), np.random.rand(), torch.rand(3).tolist()


def test_a_seeded_block_repeats_and_leaves_the_generators_alone():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    undisturbed = [draw(), draw()]
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    before = draw()
    with seeded(stream_seed(0, 'sample', 5)):
        inside = draw()
    assert [before, draw()] == undisturbed
    with seeded(stream_seed(0, 'sample', 5)):
        assert draw() == inside
    others = {
        stream_seed(*place)
        for place in ((0, 'sample', 6), (1, 'sample', 5), (0, 'order', 5), (0, 'sample', 5))
    }
    assert len(others) == 4
