"""What a study states about its imported table: units, factors, and what N counts."""

from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from flops_fit.study.study import Study
from hand_computed import SMALL, changed, small_study


def imported(table, **keys):
    table = {"path": "runs.csv", **table}
    return Study.from_config({"study": "own", "runs_table": table} | keys, "own.yaml")


def test_units_and_factors_are_read():
    table = imported({"loss_unit": "bits_per_byte", "scale": {"N": "1e6", "C": 8.64e19}}).runs_table
    assert table.loss_unit == "bits_per_byte"
    assert table.scale == {"N": 1e6, "C": 8.64e19}
    plain = imported({}).runs_table
    assert (plain.loss_unit, plain.scale) == (None, {})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"loss_unit": "bits"}, "runs_table.loss_unit: found 'bits', expected nats_per_<unit> or "),
        ({"loss_unit": 3}, "runs_table.loss_unit: found 3, expected nats_per_<unit> or "),
        ({"scale": {"N": 0}}, "runs_table.scale.N: found 0.0, expected a number "),
        ({"scale": 1e6}, "runs_table.scale: found 1000000.0, expected a map from our name"),
    ],
)
def test_other_units_and_factors_are_refused(table, message):
    with pytest.raises(UserError) as caught:
        imported(table)
    assert str(caught.value).startswith(f"own.yaml: {message}")
    assert "\n" not in str(caught.value)


def test_what_N_counts_is_open_in_a_table_unless_it_is_stated():
    assert imported({}).fit.params == "as_in_table"
    assert imported({}, fit={"bootstrap": 5}).fit.params == "as_in_table"
    for stated in ("total", "non_embedding", "as_in_table"):
        study = imported({}, fit={"params": stated})
        assert study.fit.params == stated
        assert Study.from_config(study.config, "own.yaml").fit.params == stated
    assert small_study().fit.params == "non_embedding"
    with pytest.raises(UserError) as caught:
        Study.from_config(changed(SMALL, {"fit.params": "as_in_table"}), "my.yaml")
    assert str(caught.value) == (
        "my.yaml: fit.params: found 'as_in_table' without a runs_table, expected total or "
        "non_embedding"
    )


@pytest.mark.parametrize("fit", [3, None, [1]])
def test_a_section_that_is_none_is_still_refused(fit):
    with pytest.raises(UserError, match=r"own.yaml: fit: found"):
        imported({}, fit=fit)
