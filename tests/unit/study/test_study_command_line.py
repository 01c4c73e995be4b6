"""What --config says, read as a configuration file would be read."""

from __future__ import annotations

import pytest
from flops_fit.study.command_line import command_line_values


@pytest.mark.parametrize(
    ("argument", "read"),
    [
        (
            "model={kwargs: {n_layer: 2, rate: .5, bias: false, none: null, name: '2', text: two}}",
            {"model": {"kwargs": {
                "n_layer": 2, "rate": 0.5, "bias": False, "none": None, "name": "2", "text": "two",
            }}},
        ),
        ("model={'kwargs': {'n_layer': 2}}", {"model": {"kwargs": {"n_layer": 2}}}),
        ("plan={budgets: [5e10, 3000000]}", {"plan": {"budgets": ["5e10", 3_000_000]}}),
        # single values of the top level are names and paths
        ("study=no", {"study": "no"}),
        ("study=2024-01-02", {"study": "2024-01-02"}),
        ("loss=teacher:cross_entropy", {"loss": "teacher:cross_entropy"}),
        ("loss='a:b'", {"loss": "a:b"}),
        ("runs_table=a=b.csv", {"runs_table": "a=b.csv"}),
        ("loss=", {"loss": None}),
        # no YAML, and what no parser takes
        ("loss=@a: [", {"loss": "@a: ["}),
        ("plan={seeds: " + "[" * 5000, {"plan": "{seeds: " + "[" * 5000}),
        ("plan=[" + "1" * 5000 + "]", {"plan": "[" + "1" * 5000 + "]"}),
    ],
)  # fmt: skip
def test_values_are_read_as_in_a_file(argument, read):
    found = command_line_values([argument])
    assert found == read
    assert repr(found) == repr(read)  # 1 == 1.0 == True


def test_several_keys_and_none():
    assert command_line_values(["study=a", "fit={seed: 1}"]) == {"study": "a", "fit": {"seed": 1}}
    assert command_line_values([]) == {}
