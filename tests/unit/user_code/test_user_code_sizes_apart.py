"""Of a dense range of sizes, those about 10% apart in N are measured."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from flops_fit.study.settings import SizeRange
from flops_fit.user_code.measure import sizes_apart
from flops_fit.user_code.references import UserCode
from hand_computed import small_study
from torch import nn

CODE = UserCode.of_study(small_study())


def cube(size: float) -> nn.Module:
    """N is the cube of the size."""
    return nn.Linear(int(size) ** 2, int(size), bias=False)


def square(size: float) -> nn.Module:
    return nn.Linear(int(size), int(size), bias=False)


def straight(size: float) -> nn.Module:
    return nn.Linear(int(size), 1, bias=False)


@pytest.mark.parametrize(("build", "power"), [(straight, 1), (square, 2), (cube, 3)])
def test_sizes_lie_about_a_tenth_apart_in_N(build, power):
    built = []
    values = SizeRange(min=100, max=2000).values
    code = replace(CODE, sizes=tuple(values))

    def counted(size):
        built.append(size)
        return build(size)

    sizes = sizes_apart(counted, code)
    assert (sizes[0], sizes[-1]) == (values[0], values[-1])
    ratios = [(b / a) ** power for a, b in itertools.pairwise(sizes)]
    assert min(ratios) > 1.07
    assert max(ratios) < 1.18
    assert len(set(built)) == len(built) <= 2.2 * len(sizes)


def test_sizes_that_are_coarser_all_stay():
    values = SizeRange(min=64, max=640, multiple_of=64).values
    assert sizes_apart(square, replace(CODE, sizes=tuple(values))) == values
