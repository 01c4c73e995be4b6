"""The size of a study's model family whose N is nearest to a wanted one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flops_fit.errors import UserError

_MOST_DOUBLINGS = 60


def step_of_sizes(sizes: Mapping[str, Any] | Sequence[float]) -> float:
    """Return the step of the sizes beyond those that a study lists.

    It is ``multiple_of`` of a range, and of a list the largest whole number that divides all of it,
    or the smallest distance in it where they are no whole numbers.

    Parameters
    ----------
    sizes
        ``model.sizes`` as checked.
    """
    if isinstance(sizes, Mapping):
        return float(sizes["multiple_of"])
    if all(float(size).is_integer() for size in sizes):
        return float(math.gcd(*map(int, sizes)))
    return min(high - low for low, high in itertools.pairwise(sorted(sizes)))


def nearest_listed(sizes: Sequence[float], count: Callable[[float], int], wanted: float) -> float:
    """Return the one of several sizes whose N is nearest to the wanted one in log N."""
    return min(sizes, key=lambda size: abs(math.log(count(size) / wanted)))


def nearest_multiple(
    step: float, count: Callable[[float], int], wanted: float, *, start: float, name: str
) -> float:
    """Return the multiple of a step whose N is nearest to the wanted one in log N.

    N grows with the size: a few sizes are counted, by doubling and halving.

    Parameters
    ----------
    count
        Returns the N of a size.
    start
        A size to begin at.
    name
        Of the size parameter, for the error.

    Raises
    ------
    UserError
        If N does not grow up to the wanted one.
    """

    def size(i: int) -> float:
        value = round(float(i * step), 9)
        return int(value) if value.is_integer() else value

    low, high = 0, max(1, round(start / step))
    for _ in range(_MOST_DOUBLINGS):
        if count(size(high)) >= wanted:
            break
        low, high = high, 2 * high
    else:
        raise UserError(
            f"{name}: N is {count(size(high)):.4g} at {size(high):g}, and does not grow up to the "
            f"{wanted:.4g} that are wanted"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if count(size(middle)) >= wanted else (middle, high)
    return nearest_listed([size(i) for i in (low, high) if i], count, wanted)
