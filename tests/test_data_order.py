"""The order of examples: a function of seed, workload and position."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data.order import ExampleOrder

GOLDEN = [8, 3, 6, 1, 2, 7, 5, 9, 0, 4, 7, 2, 3, 5, 4, 6, 0, 1, 8, 9]

counts = st.integers(1, 50)
positions = st.integers(0, 400)
seeds = st.integers(0, 2**63 - 1)


def test_golden():
    """Other ids here are another order in every record made so far."""
    order = ExampleOrder(0, "gpt", 10)
    assert order.ids(0, 20).tolist() == GOLDEN


@given(seeds, counts, st.integers(0, 5))
def test_an_epoch_is_a_permutation(seed, count, epoch):
    ids = ExampleOrder(seed, "w", count).ids(epoch * count, count)
    assert ids.dtype == torch.int64
    assert sorted(ids.tolist()) == list(range(count))


@given(seeds, counts, positions, st.lists(st.integers(0, 60), max_size=8))
def test_any_cut_into_batches_gives_the_same_stream(seed, count, position, sizes):
    whole = ExampleOrder(seed, "w", count).ids(position, sum(sizes))
    order = ExampleOrder(seed, "w", count)
    pieces, start = [], position
    for size in sizes:
        pieces += order.ids(start, size).tolist()
        start += size
    assert pieces == whole.tolist()


@given(counts, positions, positions)
def test_resuming_anywhere_needs_no_past(count, first, second):
    travelled, fresh = ExampleOrder(1, "w", count), ExampleOrder(1, "w", count)
    travelled.ids(first, 10)
    assert torch.equal(travelled.ids(second, 10), fresh.ids(second, 10))


def test_global_random_state_neither_matters_nor_changes():
    expected = ExampleOrder(3, "w", 1000).ids(500, 1000)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(ExampleOrder(3, "w", 1000).ids(500, 1000), expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_epochs_seeds_and_workloads_have_orders_of_their_own():
    def first(seed, workload, epoch):
        return tuple(ExampleOrder(seed, workload, 100).ids(epoch * 100, 100).tolist())

    streams = {first(s, w, e) for s in (0, 1) for w in ("a", "b") for e in (0, 1)}
    assert len(streams) == 8


def test_positions_within_an_epoch_are_uniform():
    """Chi-squared of where example 0 lands, over 2,000 epochs and 10 places."""
    order = ExampleOrder(0, "w", 10)
    places = [order.ids(epoch * 10, 10).tolist().index(0) for epoch in range(2000)]
    observed = np.bincount(places, minlength=10)
    assert ((observed - 200) ** 2 / 200).sum() < 27.9  # p = 0.001 at 9 degrees of freedom


def test_a_batch_is_the_callers_to_keep():
    order = ExampleOrder(0, "w", 10)
    expected = order.ids(0, 10)
    order.ids(0, 10).zero_()
    assert torch.equal(order.ids(0, 10), expected)


@pytest.mark.parametrize(("position", "count"), [(-1, 2), (0, -1)])
def test_a_stretch_that_cannot_be_is_refused(position, count):
    with pytest.raises(ValueError, match="no stretch"):
        ExampleOrder(0, "w", 10).ids(position, count)


def test_an_order_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        ExampleOrder(0, "w", 0)
