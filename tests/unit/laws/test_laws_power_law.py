from __future__ import annotations

import numpy as np
import pytest
from flops_fit.laws import PowerLaw, fit_power_law, fit_power_law_with_offset
from flops_fit.laws.forms.power_law import offset_rows, regress_rows


@pytest.mark.parametrize("C", [np.logspace(9, 12, 4), np.logspace(18, 26, 7), [1e9, 1e26]])
@pytest.mark.parametrize("exponent", [0.5, 0.73, -0.05, 1.0])
def test_power_law_is_recovered_exactly(C, exponent):
    y = 0.37 * np.asarray(C) ** exponent
    law = fit_power_law(C, y)
    # Only rounding: log C is up to 60, so the coefficient loses two digits
    assert law.exponent == pytest.approx(exponent, rel=1e-12)
    assert law.coefficient == pytest.approx(0.37, rel=1e-10)
    assert law.offset == 0.0
    assert law.r_squared == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(law.predict(C), y, rtol=1e-11)


def test_power_law_is_the_least_squares_line_in_logs():
    rng = np.random.default_rng(1)
    C = np.logspace(18, 22, 6)
    y = 0.2 * C**0.46 * np.exp(rng.normal(0, 0.3, 6))
    law = fit_power_law(C, y)
    slope, intercept = np.polyfit(np.log(C), np.log(y), 1)
    assert law.exponent == pytest.approx(slope, rel=1e-10)
    assert np.log(law.coefficient) == pytest.approx(intercept, rel=1e-8)
    assert law.r_squared == pytest.approx(np.corrcoef(np.log(C), np.log(y))[0, 1] ** 2, rel=1e-10)


def test_nothing_to_explain_has_no_r_squared():
    assert fit_power_law([1e18, 1e19, 1e20], [3.0, 3.0, 3.0]).r_squared is None


@pytest.mark.parametrize("C", [np.logspace(9, 12, 4), np.logspace(18, 26, 5)])
@pytest.mark.parametrize("offset", [1e-3, 0.5, 1.69, 30.0])
@pytest.mark.parametrize("exponent", [-0.02, -0.15, -0.5])
def test_law_with_offset_is_recovered(C, offset, exponent):
    coefficient = 2 / C[0] ** exponent
    law, note = fit_power_law_with_offset(C, offset + coefficient * C**exponent)
    # A search by golden sections resolves a minimum to the root of rounding, about 1e-8
    assert law.offset == pytest.approx(offset, rel=1e-6)
    assert law.exponent == pytest.approx(exponent, rel=1e-6)
    # log coefficient = log y - exponent * log C multiplies the error of the exponent by up to 50
    assert law.coefficient == pytest.approx(coefficient, rel=1e-5)
    assert law.r_squared == pytest.approx(1.0, abs=1e-9)
    assert note is None


def test_noisy_offset_minimises_the_stated_objective():
    """No offset of a brute-force scan, with its regression written out anew, does better."""
    rng = np.random.default_rng(3)
    C = np.logspace(18, 22, 8)
    y = (1.7 + 900 * C**-0.16) * np.exp(rng.normal(0, 0.003, C.size))
    law, _ = fit_power_law_with_offset(C, y)

    def objective(offset):
        # polyfit multiplies residuals by w, hence no square
        slope, intercept = np.polyfit(np.log(C), np.log(y - offset), 1, w=(y - offset) / y)
        return np.sum(np.log(y / (offset + np.exp(intercept + slope * np.log(C)))) ** 2)

    scan = [objective(offset) for offset in np.linspace(0, y.min() * (1 - 1e-6), 4001)]
    assert objective(law.offset) <= min(scan) * (1 + 1e-9)
    assert np.sum(np.log(y / law.predict(C)) ** 2) == pytest.approx(objective(law.offset), rel=1e-6)
    # The noise of 0.3% moves the floor by far less than this
    assert law.offset == pytest.approx(1.7, rel=0.1)


@pytest.mark.parametrize("n", [2, 3])
def test_too_few_points_get_no_offset_and_say_so(n):
    C = np.logspace(18, 20, n)
    y = 1.7 + 900 * C**-0.16
    law, note = fit_power_law_with_offset(C, y)
    assert law == fit_power_law(C, y)
    assert (note.code, note.values) == ("offset_few_budgets", {"n": n, "needed": 4})


def test_pure_power_law_has_offset_on_its_bound():
    C = np.logspace(18, 22, 5)
    law, note = fit_power_law_with_offset(C, 900 * C**-0.16)
    assert law.offset == 0.0
    assert law.exponent == pytest.approx(-0.16, rel=1e-12)
    assert note.code == "offset_is_zero"


def test_rising_values_get_no_offset_and_say_so():
    C = np.logspace(18, 22, 5)
    law, note = fit_power_law_with_offset(C, 2 * C**0.05)
    assert law.exponent == pytest.approx(0.05, rel=1e-10)
    assert note.code == "offset_without_fall"
    assert note.values["exponent"] == law.exponent


def test_values_that_stop_falling_put_the_offset_on_its_upper_bound():
    C = np.logspace(18, 22, 5)
    law, note = fit_power_law_with_offset(C, np.array([9.0, 2.0, 2.0, 2.0, 2.0]))
    assert law.offset == pytest.approx(2.0, rel=1e-6)
    assert (note.code, note.values) == ("offset_at_lowest", {"offset": law.offset})


@pytest.mark.parametrize(
    ("C", "y", "message"),
    [
        ([1e18, 1e19], [1.0, -1.0], "finite, positive y, but got -1.0"),
        ([0.0, 1e19], [1.0, 1.0], "finite, positive C, but got 0.0"),
        ([1e18, 1e19], [1.0, np.nan], "finite, positive y, but got nan"),
        ([1e18, 1e18], [1.0, 2.0], "two distinct C"),
        ([1e18, 1e19], [1.0], r"not \(2,\) and \(1,\)"),
        ([1e26, 1.01e26], [1.0, 1e-300], "range of floats"),
    ],
)
def test_unusable_values_are_refused(C, y, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(C, y)


def test_prediction_survives_where_the_power_alone_overflows():
    law = PowerLaw(coefficient=1e-280, exponent=12.0)
    assert law.predict(1e26) == pytest.approx(1e32, rel=1e-9)


def test_rows_of_laws_are_the_single_fits():
    rng = np.random.default_rng(0)
    C = np.tile(np.logspace(18, 22, 7), (20, 1))
    y = (1.7 + 900 * C**-0.16) * np.exp(rng.normal(0, 0.003, C.shape))
    mask = rng.random(C.shape) < 0.8
    mask[:, :2] = True
    log_coefficient, exponent, offset = offset_rows(np.log(C), y, mask)
    intercept, slope = regress_rows(np.log(C), np.log(y), mask.astype(float))
    for i in range(20):
        law, _ = fit_power_law_with_offset(C[i][mask[i]], y[i][mask[i]])
        plain = fit_power_law(C[i][mask[i]], y[i][mask[i]])
        assert slope[i] == pytest.approx(plain.exponent, rel=1e-9)
        assert intercept[i] == pytest.approx(np.log(plain.coefficient), rel=1e-9)
        # Sums over other points round otherwise, and a minimum is flat to the root of that
        assert offset[i] == pytest.approx(law.offset, rel=1e-5, abs=1e-6)
        assert exponent[i] == pytest.approx(law.exponent, rel=1e-5)
        assert log_coefficient[i] == pytest.approx(np.log(law.coefficient), rel=1e-5)


def test_rows_that_stop_falling_or_are_not_positive():
    C = np.tile(np.logspace(18, 22, 5), (3, 1))
    y = np.array([[9.0, 2, 2, 2, 2], [9, 4, 2, 1, -0.1], [9, 4, 3, 2, -0.1]])
    mask = np.ones(y.shape, dtype=bool)
    mask[2, 4] = False
    offset = offset_rows(np.log(C), y, mask)[2]
    law, _ = fit_power_law_with_offset(C[2, :4], y[2, :4])
    np.testing.assert_allclose(offset, [2.0, np.nan, law.offset], rtol=1e-5)
