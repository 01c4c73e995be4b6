"""Which samples an optimizer step sees: a stateless function of (seed, step).

An epoch's order is a pseudo-random permutation, computed index by index, so that a run can start at
any step, every process computes its own slice, and a dataset of 1e9 samples needs no table.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 6


def permute(indices: np.ndarray, length: int, key: int) -> np.ndarray:
    """Map indices through a pseudo-random permutation of ``0 .. length - 1``.

    A balanced Feistel network over the smallest even number of bits that holds ``length``, with
    cycle walking: values that fall outside are mapped again until they are inside (Black and
    Rogaway 2002, "Ciphers with arbitrary finite domains", sections 4 and 5). The round function is
    the finaliser of SplitMix64 (Steele, Lea and Flood 2014, figure 17).

    Parameters
    ----------
    indices
        Integers in ``[0, length)``, any shape.
    length
        Size of the domain, at least 1.
    key
        Chooses the permutation.

    Returns
    -------
    numpy.ndarray
        int64, the shape of ``indices``.
    """
    half_bits = max(1, ((length - 1).bit_length() + 1) // 2)
    round_keys = _mix(
        np.uint64(key % 2**64) + np.arange(1, _ROUNDS + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    )
    values = np.atleast_1d(np.asarray(indices, dtype=np.uint64))
    values = _feistel(values, half_bits, round_keys)
    while (outside := values >= length).any():
        values[outside] = _feistel(values[outside], half_bits, round_keys)
    return values.astype(np.int64).reshape(np.shape(indices))


def samples_of_steps(
    first: int, last: int, samples_per_step: int, length: int, seed: int
) -> np.ndarray:
    """Return the dataset indices of the steps ``first .. last - 1`` over all processes.

    Epochs follow each other without a gap: a step may end one epoch and begin the next.

    Parameters
    ----------
    first, last
        Steps, counted from 0.
    samples_per_step
        Samples of the global batch.
    length
        Samples in the training split.
    seed
        The experiment's seed.

    Returns
    -------
    numpy.ndarray
        int64, shape ``(last - first, samples_per_step)``.
    """
    positions = np.arange(first * samples_per_step, last * samples_per_step)
    epochs = positions // length
    samples = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        samples[here] = permute(positions[here] % length, length, _epoch_key(seed, int(epoch)))
    return samples.reshape(last - first, samples_per_step)


def process_slice(count: int, process: int, processes: int) -> slice:
    """Return one process's contiguous share of ``count`` samples.

    The shares differ by at most one sample, and together contain each sample once.
    """
    return slice(count * process // processes, count * (process + 1) // processes)


_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: SplitMix64's increment


def _epoch_key(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _feistel(values: np.ndarray, half_bits: int, round_keys: np.ndarray) -> np.ndarray:
    shift, mask = np.uint64(half_bits), np.uint64(2**half_bits - 1)
    left, right = values >> shift, values & mask
    for key in round_keys:
        left, right = right, left ^ (_mix(right + key) & mask)
    return (left << shift) | right
