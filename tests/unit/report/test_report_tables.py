from __future__ import annotations

import csv
import io
import itertools
import re

import numpy as np
import pytest
from fitted_study import without_answer
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


def _first_table(markdown: str) -> list[str]:
    lines = markdown[markdown.index("\n|") + 1 :].splitlines()
    return list(itertools.takewhile(lambda line: line.startswith("|"), lines))


def _table_rows(markdown: str) -> list[list[str]]:
    """Cells of the first Markdown table's body."""
    lines = _first_table(markdown)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_table_holds_the_answer_in_full(fit_of_three):
    table = prediction_table(read(fit_of_three))
    predictions = {row["C"]: row for row in fit_of_three["answer"]["predictions"]}
    assert list(table.columns) == COLUMNS
    assert table["C"].tolist() == [5e10, 1.5e11, 5e11, 1.5e12, 1e13, 1e15]
    assert set(table["approach"]) == {"path"}
    assert table["extrapolated"].tolist() == [False] * 4 + [True] * 2
    for row in table.to_dict("records"):
        expected = predictions[row["C"]]
        for quantity in ("N_opt", "D_opt", "L_opt", "D_per_N"):
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
    exact = fit["answer"]["if_form_is_exact"]["predictions"]
    for row in [*fit["answer"]["predictions"], *exact]:
        row["extrapolated"] = False
    assert "†" not in table_markdown(read(fit))


def test_markdown_shows_rounded_numbers_with_intervals(fit):
    row = fit["answer"]["predictions"][0]
    row |= {"C": 5.76e23, "N_opt": 67e9, "D_opt": 1.4e12, "L_opt": 1.9364}
    row |= {"N_opt_ci": [40.04e9, 70e9], "D_opt_ci": [1.3e12, 1.5e12], "L_opt_ci": [1.9, 2.0]}
    row |= {"D_per_N": 20.9, "D_per_N_ci": [15.0, 30.0], "extrapolated": True}
    last = _table_rows(table_markdown(read(fit)))[-1]
    squeezed = [re.sub(r"\s+", " ", cell) for cell in last]
    assert squeezed[3:] == ["20.9 [15, 30]", "1.936 [1.900, 2.000]"]
    assert squeezed[:3] == ["5.76e23 †", "67B [40B, 70B]", "1.4T [1.3T, 1.5T]"]


def test_markdown_is_aligned_and_a_table(fit):
    lines = _first_table(table_markdown(read(fit)))
    assert len(lines) == 2 + 6
    # Same width and bars in the same columns: what a terminal shows as a grid.
    bars = [[i for i, character in enumerate(line) if character == "|"] for line in lines]
    assert all(places == bars[0] for places in bars)
    assert re.fullmatch(r"(\| -+: )+\|", lines[1])


def test_summary_names_study_runs_exponents_and_what_N_is(fit):
    text = table_markdown(read(fit))
    assert "Study **demo**, 20 runs (1 more left out). The answer (method path): a path" in text
    answer = read(fit).answer
    for symbol, quantity in (("a", "N_opt"), ("b", "D_opt")):
        value, (low, high) = answer.exponent(quantity)
        assert f"{symbol} = {value:.3f} [{low:.3f}, {high:.3f}]" in text
    assert f"{10 ** answer.exponent('N_opt')[0]:.3g} times the parameters" in text
    assert "N counts non-embedding parameters. In brackets: 95% intervals from draws" in text
    assert "N counts total parameters." in table_markdown(read(fit | {"params": "total"}))


def test_assumptions_stand_with_what_they_cost(fit):
    text = table_markdown(read(fit))
    rows = _table_rows(text[text.index("The intervals hold the error of the form:") :])
    assert [[re.sub(r"\s+", " ", cell) for cell in row[1:]] for row in rows] == [
        ["-0.005 ± 0.015", "-0.0102 [-0.0200, 0.0000]", "1.75"],
        ["about 0.03", "–", "1.25"],
    ]
    assert "at 1e15 FLOPs, over its width without the assumption" in text
    fit["answer"]["form_error"] = None
    assert "hold the error of the form:" not in table_markdown(read(fit))


def test_the_approach_of_an_exact_form_stands_below_with_its_own_intervals(fit):
    text = table_markdown(read(fit))
    below = text[text.index("If the form is exact, approach 2: IsoFLOP profiles gives") :]
    first = fit["answer"]["if_form_is_exact"]["predictions"][1]
    assert first["C"] == 5e10
    low, high = first["L_opt_ci"]
    assert _table_rows(below)[0][-1] == f"{first['L_opt']:.3f} [{low:.3f}, {high:.3f}]"
    assert "held-out budget):" in below
    assert fit["interval_method"] in below


def test_approaches_stand_as_evidence_with_their_exponents(fit_of_three):
    fit_of_three["approaches"]["3"]["D_opt"]["r_squared"] = None
    text = table_markdown(read(fit_of_three))
    rows = _table_rows(text[text.index("The approaches, as evidence:") :])
    assert [row[0].split(":")[0] for row in rows] == ["approach 2", "approach 3", "VPNLS"]
    law = fit_of_three["approaches"]["2"]["N_opt"]
    low, high = law["ci"]["exponent"]
    assert rows[0][1] == f"{law['exponent']:.3f} [{low:.3f}, {high:.3f}]"
    assert rows[0][2] == f"{law['r_squared']:.4f}"
    assert rows[1][1] == f"{fit_of_three['approaches']['3']['N_opt']['exponent']:.3f}"
    assert rows[1][4] == "undefined"


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


def test_missing_law_of_the_loss_leaves_its_cells_empty(fit):
    for row in fit["answer"]["predictions"]:
        row |= {"L_opt": None, "L_opt_ci": None}
    assert prediction_table(read(fit))["L_opt"].isna().all()
    assert {row[-1] for row in _table_rows(table_markdown(read(fit)))} == {"–"}


def test_without_an_answer_the_table_is_empty_and_says_why(fit):
    without_answer(fit, "no budget holds three sizes")
    fit["approaches"]["2"] = {"status": "unsupported"}
    table = prediction_table(read(fit))
    assert list(table.columns) == COLUMNS
    assert len(table) == 0
    text = table_markdown(read(fit))
    assert "20 runs (1 more left out): there is no answer, because no budget holds three" in text
    assert "- approach 2: curvature at 5e+10" in text
    assert "|" not in text


def test_one_budget_has_a_minimum_without_exponents(fit):
    first = [row for row in fit["answer"]["predictions"] if row["C"] == 5e10]
    fit["answer"] |= {"method": "minimum", "law": None, "predictions": first, "form_error": None}
    text = table_markdown(read(fit))
    assert [row[0] for row in _table_rows(text)] == ["5e10"]
    assert "grows as" not in text
    assert "In brackets: 95% intervals." in text


def test_a_recommendation_of_another_name_changes_nothing(fit):
    before = table_markdown(read(fit))
    fit["recommended"] = {"approach": "2", "why": "an earlier way"}
    assert table_markdown(read(fit)) == before
