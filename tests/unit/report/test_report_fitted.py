from __future__ import annotations

import numpy as np
import pytest
from flops_fit.errors import UserError
from flops_fit.report.fitted import ReportedFit


def test_rows_are_read_in_ascending_order(fit):
    entry = fit["approaches"]["2"]
    entry["profiles"].reverse()
    read = ReportedFit.from_json(fit)
    approach = read.approaches[1]
    assert [row.C for row in read.answer.predictions] == [5e10, 1.5e11, 5e11, 1.5e12, 1e13, 1e15]
    assert [row.C for row in approach.predictions] == [5e10, 1.5e11, 5e11, 1.5e12, 1e13, 1e15]
    assert [profile.C for profile in approach.profiles] == [5e10, 1.5e11, 5e11, 1.5e12]


def test_approaches_without_laws_are_left_out(fit_of_three):
    fit = ReportedFit.from_json(fit_of_three)
    assert [approach.name for approach in fit.fitted] == ["2", "3", "vpnls"]
    assert [approach.name for approach in fit.left_out] == ["1"]


@pytest.mark.parametrize("key", ["holdout", "excluded", "answer", "approaches"])
def test_a_file_of_another_version_is_refused_by_name(fit, key):
    del fit[key]
    with pytest.raises(UserError) as caught:
        ReportedFit.from_json(fit, "results/demo/fit.json")
    assert str(caught.value) == (
        "results/demo/fit.json: is not a fit.json that a report can be made from "
        f"(KeyError({key!r})); delete it, and a rerun fits the study again"
    )


@pytest.mark.parametrize("broken", [None, [], {"2": None}, {"2": {"status": "ok", "N_opt": 3}}])
def test_a_damaged_entry_is_refused(fit, broken):
    with pytest.raises(UserError, match="that a report can be made from"):
        ReportedFit.from_json(fit | {"approaches": broken})


def test_a_law_without_draws_is_refused(fit):
    del fit["answer"]["law"]["draws"]["N_opt bend"]
    with pytest.raises(UserError, match="that a report can be made from"):
        ReportedFit.from_json(fit)


def test_the_answer_is_evaluated_along_its_law(fit):
    """The stored predictions are those of the same draws."""
    answer = ReportedFit.from_json(fit).answer
    for row in fit["answer"]["predictions"]:
        for quantity in ("N_opt", "D_opt", "L_opt"):
            found = [float(values[0]) for values in answer.along(quantity, [row["C"]])]
            expected = [row[quantity], *row[f"{quantity}_ci"]]
            # Percentiles of N between two draws differ from those of log N a little
            assert found == pytest.approx(expected, rel=1e-3)


def test_exponents_of_N_and_D_are_those_of_the_draws(fit):
    """With C = k N D they add up to 1; psi is even, so that the bend drops out in the middle."""
    answer = ReportedFit.from_json(fit).answer
    drawn = [float(value) for value in fit["answer"]["law"]["draws"]["N_opt exponent"].split()]
    (a, a_ci), (b, b_ci) = answer.exponent("N_opt"), answer.exponent("D_opt")
    low, middle, high = np.quantile(drawn, [0.025, 0.5, 0.975])
    assert (a, *a_ci) == pytest.approx((middle, low, high), rel=1e-9)
    assert (b, *b_ci) == pytest.approx((1 - middle, 1 - high, 1 - low), rel=1e-9)
