from __future__ import annotations

from dataclasses import replace

import pytest
from flops_fit.report.fitted import Law
from flops_fit.report.quantities import (
    human_count,
    human_flops,
    human_interval,
    human_loss,
    law_text,
    log_ticks,
    math_number,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (43.77, "43.8"),
        (999.4, "999"),
        (999.6, "1k"),  # the rounding carries into the next suffix
        (10_300, "10.3k"),
        (1.69e6, "1.69M"),
        (999.7e6, "1B"),
        (67e9, "67B"),
        (1.4e12, "1.4T"),
        (123e12, "123T"),
        (2.34e15, "2.34e15"),
    ],
)
def test_human_count(value, text):
    assert human_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(5e10, "5e10"), (1.5e11, "1.5e11"), (5.76e23, "5.76e23"), (9.999e9, "1e10")]
)
def test_human_flops(value, text):
    assert human_flops(value) == text


def test_human_loss_and_intervals():
    assert [human_loss(value) for value in (2.1, 0.6758, 0.01234)] == ["2.100", "0.676", "0.01234"]
    assert human_interval([9900, 11_000], human_count) == "[9.9k, 11k]"
    assert human_interval(None, human_count) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.43, "0.43"),
        (81.31, "81.3"),
        (1e12, "10^{12}"),
        (1.5e11, r"1.5 \times 10^{11}"),
        (2.5e-4, r"2.5 \times 10^{-4}"),
    ],
)
def test_math_number(value, text):
    assert math_number(value) == text


def test_law_text_has_an_offset_only_where_the_law_has_one():
    law = Law(
        coefficient=81.3, exponent=-0.1556, offset=0.3, r_squared=None, exponent_interval=None
    )
    assert law_text("L", law) == r"$L = 0.3 + 81.3\,C^{\,-0.156}$"
    assert law_text("N", replace(law, offset=0.0)) == r"$N = 81.3\,C^{\,-0.156}$"


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (4e3, 1.1e5, 6, [5e3, 1e4, 2e4, 5e4, 1e5]),
        (4e3, 1.1e5, 4, [1e4, 3e4, 1e5]),
        (4e3, 3e7, 4, [1e4, 1e5, 1e6, 1e7]),
        (4e3, 3e9, 4, [1e4, 1e6, 1e8]),
        (1.2, 1.9, 8, []),
    ],
)
def test_log_ticks_are_the_densest_that_fit(low, high, most, expected):
    assert log_ticks(low, high, most) == pytest.approx(expected, rel=1e-12)


def test_log_ticks_without_subdivision_are_powers_of_ten():
    assert log_ticks(4e3, 1.1e5, 6, subdivide=False) == pytest.approx([1e4, 1e5], rel=1e-12)
