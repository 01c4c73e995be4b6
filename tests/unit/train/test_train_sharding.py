"""The micro-batch of a sharded model, found from below."""

from __future__ import annotations

import pytest
from flops_fit.train.sharding import grow_micro_batch


class Gpus:
    """Memory of several processes: `base` before, `fixed` by any pass, `each` per sample."""

    def __init__(self, base=100, fixed=50, each=(10,), capacity=1000):
        self.base, self.fixed, self.each, self.capacity = base, fixed, each, capacity
        self.tried = []

    def peak(self, process, samples):
        peak = self.base + self.fixed + self.each[process] * samples
        assert peak <= self.capacity, "out of memory"
        return peak

    def grow(self, share):
        """What the first process finds; the others say whether the same size fits them."""

        def peak_of(samples):
            self.tried.append(samples)
            return max(self.peak(process, samples) for process in range(len(self.each)))

        return grow_micro_batch(share, peak_of, self.base, self.capacity, lambda holds: holds)


@pytest.mark.parametrize(
    ("share", "each", "found"),
    [
        (1, 10, 1),
        (8, 10, 8),  # 230 of 1000
        (64, 10, 64),  # 790
        (75, 10, 75),  # 900, all that is usable
        (76, 10, 38),  # 910: two passes
        (1000, 10, 63),  # 64 fit, 16 passes of at most 63
        (7, 700, 1),
    ],
)
def test_the_largest_doubling_that_is_expected_to_fit_is_taken(share, each, found):
    assert Gpus(each=(each,)).grow(share) == found


def test_nothing_is_tried_that_is_not_expected_to_fit():
    gpus = Gpus(each=(10,))
    gpus.grow(1000)
    assert gpus.tried == [1, 2, 4, 8, 16, 32, 64]
    assert max(gpus.peak(0, samples) for samples in gpus.tried) <= 0.9 * gpus.capacity


def test_a_process_without_room_decides_for_all():
    gpus = Gpus()
    answers = iter([True, True, False])
    found = grow_micro_batch(
        16, lambda samples: gpus.peak(0, samples), 100, 1000, lambda holds: holds and next(answers)
    )
    assert found == 4
