from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.tables import collected_warnings, prediction_table, table_markdown

read = ReportedFit.from_json

COLUMNS = [
    *("approach", "C", "extrapolated"),
    *("N_opt", "N_opt_lo", "N_opt_hi"),
    *("D_opt", "D_opt_lo", "D_opt_hi"),
    *("L_opt", "L_opt_lo", "L_opt_hi"),
    *("D_per_N", "D_per_N_lo", "D_per_N_hi"),
]


def _table_rows(markdown: str) -> list[list[str]]:
    """Cells of the Markdown table's body."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_table_holds_the_recommended_predictions_in_full(fit_of_three):
    table = prediction_table(read(fit_of_three))
    predictions = {row["C"]: row for row in fit_of_three["approaches"]["2"]["predictions"]}
    assert list(table.columns) == COLUMNS
    assert table["C"].tolist() == [5e10, 1.5e11, 5e11, 1.5e12, 1e13, 1e15]
    assert set(table["approach"]) == {"2"}
    assert table["extrapolated"].tolist() == [False] * 4 + [True] * 2
    for row in table.to_dict("records"):
        expected = predictions[row["C"]]
        for quantity in ("N_opt", "D_opt", "L_opt"):
            assert row[quantity] == expected[quantity]
            assert [row[f"{quantity}_lo"], row[f"{quantity}_hi"]] == expected[f"{quantity}_ci"]


def test_N_times_D_spends_the_compute(fit):
    table = prediction_table(read(fit))
    # The laws of N and D are regressions of optima with C = k N D exactly, so their product keeps
    # it up to rounding.
    np.testing.assert_allclose(
        fit["k"]["value"] * table["N_opt"] * table["D_opt"], table["C"], rtol=1e-9
    )
    np.testing.assert_allclose(table["D_per_N"] * table["N_opt"], table["D_opt"], rtol=1e-12)


def test_missing_intervals_stay_empty_and_a_given_ratio_interval_is_used(fit):
    first, second = fit["approaches"]["2"]["predictions"][1:3]
    first["N_opt_ci"] = None
    second["D_per_N_ci"] = [30.0, 50.0]
    table = prediction_table(read(fit)).set_index("C")
    assert table.loc[first["C"], ["N_opt_lo", "N_opt_hi"]].isna().all()
    assert table.loc[first["C"], ["D_opt_lo", "D_opt_hi"]].notna().all()
    assert table.loc[second["C"], ["D_per_N_lo", "D_per_N_hi"]].tolist() == [30.0, 50.0]
    assert table["D_per_N_lo"].notna().sum() == 1


def test_csv_keeps_every_bit(fit):
    table = prediction_table(read(fit))
    header, *rows = csv.reader(io.StringIO(table.to_csv(index=False)))
    assert header == COLUMNS
    for fields, expected in zip(rows, table.to_dict("records"), strict=True):
        found = dict(zip(header, fields, strict=True))
        assert found.pop("approach") == expected.pop("approach")
        assert found.pop("extrapolated") == str(expected.pop("extrapolated"))
        for name, text in found.items():
            missing = np.isnan(expected[name])
            assert text == "" if missing else float(text) == expected[name]


def test_markdown_marks_extrapolated_rows_and_only_those(fit):
    rows = _table_rows(table_markdown(read(fit)))
    assert [row[0] for row in rows] == ["5e10", "1.5e11", "5e11", "1.5e12", "1e13 †", "1e15 †"]
    assert "† extrapolated" in table_markdown(read(fit))
    for row in fit["approaches"]["2"]["predictions"]:
        row["extrapolated"] = False
    assert "†" not in table_markdown(read(fit))


def test_markdown_shows_rounded_numbers_with_intervals(fit):
    row = fit["approaches"]["2"]["predictions"][0]
    row |= {"C": 5.76e23, "N_opt": 67e9, "D_opt": 1.4e12, "L_opt": 1.9364}
    row |= {"N_opt_ci": [40.04e9, 70e9], "D_opt_ci": None, "L_opt_ci": [1.9, 2.0]}
    last = _table_rows(table_markdown(read(fit)))[-1]
    squeezed = [re.sub(r"\s+", " ", cell) for cell in last]
    assert squeezed == ["5.76e23 †", "67B [40B, 70B]", "1.4T", "20.9", "1.936 [1.900, 2.000]"]


def test_markdown_is_aligned_and_a_table(fit):
    lines = [line for line in table_markdown(read(fit)).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 6
    # Same width and bars in the same columns: what a terminal shows as a grid.
    bars = [[i for i, character in enumerate(line) if character == "|"] for line in lines]
    assert all(places == bars[0] for places in bars)
    assert re.fullmatch(r"(\| -+: )+\|", lines[1])


def test_summary_names_study_runs_exponents_and_what_N_is(fit):
    fit["approaches"]["2"]["N_opt"] |= {"exponent": 0.5, "r_squared": 0.9876, "ci": None}
    text = table_markdown(read(fit))
    assert "Study **demo**, 20 runs (1 more left out)" in text
    assert "a = 0.500 (R² 0.9876)" in text
    b = fit["approaches"]["2"]["D_opt"]["exponent"]
    assert f"b = {b:.3f} [{b - 0.02:.3f}, {b + 0.02:.3f}]" in text
    assert "3.16 times the parameters" in text  # ten to the power of one half
    assert "N counts non-embedding parameters." in text
    assert "N counts total parameters." in table_markdown(read(fit | {"params": "total"}))


def test_unit_is_the_one_given(fit):
    text = table_markdown(read(fit), unit="image")
    assert "images D" in text
    assert "nats per image" in text
    assert "token" not in text


def _score(approach, kind, budgets, error, ratio, per_run):
    return {
        "approach": approach,
        "kind": kind,
        "budgets": budgets,
        "mean_abs_relative_error": error,
        "N_opt_ratio": ratio,
        "per_run_error": per_run,
    }


def test_holdout_scores_are_a_table_with_a_sentence_on_how_to_read_it(fit):
    fit["approaches"]["3"] = {"status": "failed", "reason": "no"}
    fit["holdout"] = [
        _score("2", "largest", [5e11, 1.5e12], 0.0123, 1.404, None),
        _score("3", "largest", [5e11, 1.5e12], None, None, 0.0456),
        _score("2", "leave_one_out", [5e10], 0.01, 0.5, None),
        _score("2", "leave_one_out", [1.5e11], 0.03, None, None),
        _score("2", "leave_one_out", [5e11], None, 1.25, None),
    ]
    text = table_markdown(read(fit))
    rows = _table_rows(text[text.index("Hold-out:") :])
    assert rows == [
        ["approach 2", "5e11, 1.5e12", "1.23%", "1.40", "–"],
        ["approach 2", "each of 3", "2.00%", "0.50 to 1.25", "–"],
        ["approach 3", "5e11, 1.5e12", "–", "–", "4.56%"],
    ]
    assert "How far to trust the extrapolation" in text
    assert text.index("How far") < text.index("Left out:") < text.index("Warnings:")
    assert "Hold-out" not in table_markdown(read(fit | {"holdout": []}))


def test_markdown_has_every_warning_once(fit):
    repeated = fit["judgements"][-1]["text"]
    said = {
        None: ["first line\nsecond line"], "2": [repeated, "a law of one point"],
        "1": ["no curve reaches back far enough", "a law of one point"],
    }  # fmt: skip
    for approach, texts in said.items():
        fit["judgements"] += [
            {**fit["judgements"][0], "approach": approach, "text": text} for text in texts
        ]
    lines = table_markdown(read(fit)).splitlines()
    listed = lines[lines.index("Warnings:") + 2 :]
    assert listed == [
        "- prediction at 1e+15 FLOPs lies 667x beyond the largest budget",
        "- first line second line",
        "- approach 1: no curve reaches back far enough",
        "- approach 1: a law of one point",
        "- approach 2: curvature at 5e+10 FLOPs is barely significant (p = 0.04)",
    ]
    assert len(collected_warnings(read(fit))) == len(listed)


def test_no_warnings_is_said(fit):
    fit["judgements"] = []
    assert table_markdown(read(fit)).endswith("\nNo warnings.\n")


def test_interval_method_is_named_only_where_intervals_exist(fit):
    assert fit["interval_method"] in table_markdown(read(fit))
    for row in fit["approaches"]["2"]["predictions"]:
        row |= {"N_opt_ci": None, "D_opt_ci": None, "L_opt_ci": None}
    text = table_markdown(read(fit))
    assert fit["interval_method"] not in text
    assert "No intervals were computed" in text


@pytest.mark.parametrize(
    "entry",
    [
        {"status": "failed", "reason": "the search did not end"},
        {"status": "failed: the search did not end"},
    ],
)
def test_left_out_approaches_are_named_with_their_reason(fit, entry):
    fit["approaches"]["vpnls"] = entry
    text = table_markdown(read(fit))
    assert "Left out: approach 1 (unsupported: the learning rate decays" in text
    assert "Left out: VPNLS (failed: the search did not end)." in text


@pytest.mark.parametrize("ci", [None, {"coefficient": None, "exponent": None}])
def test_laws_without_intervals_show_none(fit, ci):
    for quantity in ("N_opt", "D_opt"):
        fit["approaches"]["2"][quantity] |= {"exponent": 0.5, "ci": ci, "r_squared": None}
    assert "C^a, a = 0.500 (R² undefined);" in table_markdown(read(fit))


def test_missing_law_of_the_loss_leaves_its_cells_empty(fit):
    for row in fit["approaches"]["2"]["predictions"]:
        row |= {"L_opt": None, "L_opt_ci": None}
    assert prediction_table(read(fit))["L_opt"].isna().all()
    assert {row[-1] for row in _table_rows(table_markdown(read(fit)))} == {"–"}


def test_reason_of_no_recommendation_is_told(fit):
    fit["recommended"] = {"approach": None, "why": "no approach gave laws (one budget)"}
    text = table_markdown(read(fit))
    assert "no approach could be recommended, no approach gave laws (one budget)." in text


def test_without_a_recommendation_the_table_is_empty_and_says_so(fit):
    fit["recommended"] = {"approach": None, "why": "no approach gave laws"}
    fit["approaches"]["2"] = {"status": "unsupported"}
    table = prediction_table(read(fit))
    assert list(table.columns) == COLUMNS
    assert len(table) == 0
    text = table_markdown(read(fit))
    assert "no approach could be recommended" in text
    assert "- approach 2: curvature at 5e+10" in text
    assert "|" not in text
