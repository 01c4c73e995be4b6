from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from flops_fit.report.fitted import ReportedFit


def test_rows_are_read_in_ascending_order(fit):
    entry = fit["approaches"]["2"]
    entry["profiles"].reverse()
    approach = ReportedFit.from_json(fit).recommended
    assert [row.C for row in approach.predictions] == [5e10, 1.5e11, 5e11, 1.5e12, 1e13, 1e15]
    assert [profile.C for profile in approach.profiles] == [5e10, 1.5e11, 5e11, 1.5e12]


def test_the_recommended_approach_leads(fit_of_three):
    fit_of_three["recommended"]["approach"] = "3"
    fit = ReportedFit.from_json(fit_of_three)
    assert [approach.name for approach in fit.fitted] == ["3", "2", "vpnls"]
    assert [approach.name for approach in fit.left_out] == ["1"]


@pytest.mark.parametrize("key", ["holdout", "excluded", "recommended", "approaches"])
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
