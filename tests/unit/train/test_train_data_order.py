"""The data order: a permutation per epoch, without memory, without a pattern."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from flops_fit.train.data_order import permute, process_slice, samples_of_steps
from scipy import stats

# 1 to 3, powers of two and their neighbours, and a few that walk far out of range (2^k + 1)
LENGTHS = sorted({1, 2, 3, *(2**k + d for k in range(2, 15, 3) for d in (-1, 0, 1)), 1000, 16_385})


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("key", [0, 1, 2**64 - 1, 2**64 + 5])
def test_permute_is_a_permutation(length, key):
    order = permute(np.arange(length), length, key)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(length))


def test_an_index_is_mapped_alone_as_among_others():
    order = permute(np.arange(1000), 1000, 7)
    assert [int(permute(np.array([i]), 1000, 7)[0]) for i in range(0, 1000, 37)] == (
        order[::37].tolist()
    )
    shaped = np.array([[5, 900, 5], [0, 1, 999]])
    assert np.array_equal(permute(shaped, 1000, 7), order[shaped])
    with np.errstate(over="raise"):  # numpy wraps arrays silently, and warns of single numbers
        alone = [permute(np.array(i), 1000, 7) for i in range(50)]
    assert [one.shape for one in alone] == [()] * 50
    assert alone == order[:50].tolist()
    assert permute(np.array([], dtype=int), 1000, 7).shape == (0,)
    indices = np.arange(10, dtype=np.uint64)
    permute(indices, 10, 3)
    assert indices.tolist() == list(range(10))


def test_a_huge_dataset_needs_no_table():
    length = 10**12 + 39
    indices = np.arange(length - 1000, length)
    order = permute(indices, length, 1)
    assert len(set(order.tolist())) == 1000
    assert order.min() >= 0
    assert order.max() < length
    assert order.max() - order.min() > length // 2


def test_keys_choose_different_permutations():
    orders = {tuple(permute(np.arange(100), 100, key).tolist()) for key in range(200)}
    assert len(orders) == 200


@pytest.mark.parametrize("length", [10, 64, 100, 257])
def test_every_place_gets_every_sample_equally_often(length):
    """Chi-square over 4000 keys: for a fair shuffle its distribution is known.

    The bound is exceeded by a fair shuffle with probability 1e-6 at each of three places, and the
    keys are fixed: a failure means a bias.
    """
    keys = np.random.default_rng(0).integers(2**63, size=4000)
    places = np.array([0, length // 2, length - 1])
    found = np.array([permute(places, length, int(key)) for key in keys])  # (keys, places)
    expected = len(keys) / length
    for place in range(3):
        counts = np.bincount(found[:, place], minlength=length)
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < stats.chi2.isf(1e-6, length - 1), places[place]
        # Nor are they more equal than chance makes them.
        assert chi_square > stats.chi2.ppf(1e-6, length - 1), places[place]


@pytest.mark.parametrize("length", [1000, 4096, 10_007])
@pytest.mark.parametrize("key", range(5))
def test_neighbours_in_the_order_are_unrelated(length, key):
    """The serial correlations of a random permutation have a standard deviation of 1/sqrt(n).

    Five of them are exceeded with probability 6e-7.
    """
    order = permute(np.arange(length), length, key)
    bound = 5 / np.sqrt(length)
    for lag in (1, 2, 3, 7, 16, 64):
        assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < bound, lag
    assert abs(np.corrcoef(order, np.arange(length))[0, 1]) < bound


def test_the_steps_between_neighbours_are_those_of_a_shuffle():
    """Gaps p[i+1] - p[i] mod n are uniform over 1 .. n-1: in 16 bins, with the bound from above."""
    length = 10_007
    order = permute(np.arange(length), length, 3)
    gaps = np.diff(order) % length
    counts = np.bincount((gaps - 1) * 16 // (length - 1), minlength=16)
    expected = (length - 1) / 16
    assert ((counts - expected) ** 2 / expected).sum() < stats.chi2.isf(1e-6, 15)


# Steps -------------------------------------------------------------------------------------------


def test_each_epoch_holds_each_sample_once_in_its_own_order():
    steps = samples_of_steps(0, 30, 10, 100, seed=0)
    assert steps.shape == (30, 10)
    epochs = steps.reshape(3, 100)
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(100))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        # Two random orders of 100 agree at one place on average; at eleven with 1e-8.
        assert (epochs[one] == epochs[other]).sum() < 11
        assert abs(np.corrcoef(epochs[one], epochs[other])[0, 1]) < 5 / np.sqrt(100)


def test_a_step_may_end_one_epoch_and_begin_the_next():
    flat = samples_of_steps(0, 12, 7, 10, seed=5).ravel()  # 84 samples: 8 epochs and 4 more
    for epoch in range(8):
        assert sorted(flat[10 * epoch : 10 * epoch + 10].tolist()) == list(range(10))
    assert len(set(flat[80:].tolist())) == 4
    # A batch that is larger than the dataset holds each sample several times.
    (batch,) = samples_of_steps(0, 1, 25, 10, seed=5)
    assert np.array_equal(batch, flat[:25])


@pytest.mark.parametrize("block", [1, 2, 5, 64, 256])
def test_steps_do_not_depend_on_where_one_begins(block):
    """A run that resumes at any step sees what the undisturbed one saw."""
    whole = samples_of_steps(0, 300, 7, 53, seed=2)
    parts = [
        samples_of_steps(first, min(first + block, 300), 7, 53, seed=2)
        for first in range(0, 300, block)
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(samples_of_steps(123, 124, 7, 53, seed=2)[0], whole[123])
    assert samples_of_steps(5, 5, 7, 53, seed=2).shape == (0, 7)


def test_seeds_have_orders_of_their_own():
    orders = [samples_of_steps(0, 10, 10, 100, seed).ravel() for seed in range(20)]
    assert len({tuple(order.tolist()) for order in orders}) == 20
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(100)


def test_the_order_is_what_it_was():
    """Recorded from this code: whoever changes the order must raise the recipe's version."""
    assert samples_of_steps(0, 2, 5, 10, seed=0).tolist() == [[6, 0, 1, 7, 8], [4, 5, 2, 9, 3]]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 64, 1001])
@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
def test_processes_share_a_step_without_gap_or_overlap(count, processes):
    shares = [list(range(count))[process_slice(count, p, processes)] for p in range(processes)]
    assert list(itertools.chain(*shares)) == list(range(count))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1
