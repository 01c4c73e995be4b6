"""The backtest in table.md, beside the numbers of fit.json."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import artists_of, texts_of
from flops_fit.report.figures.backtest import backtest_figure
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.tables import table_markdown
from flops_fit.report.write import write_report

ROWS = [
    {
        "hidden": 1,
        "C": 1.5e12,
        "times": 3.0,
        "N_opt": {
            "predicted": 66_000.0, "ci": [52_000.0, 84_000.0], "found": 70_000.0,
            "found_std_err": 0.04, "covered": True,
        },
        "L_opt": {
            "predicted": 1.331, "ci": [1.311, 1.346], "found": 1.412,
            "found_std_err": 0.004, "covered": False,
        },
    },
    {
        "hidden": 2,
        "C": 5e11,
        "times": 3.3333,
        "N_opt": {
            "predicted": 33_100.0, "ci": [25_000.0, 42_000.0], "found": 34_200.0,
            "found_std_err": 0.05, "covered": True,
        },
        "L_opt": None,
    },
]  # fmt: skip


def cells(markdown):
    """Return the cells of the rows below the header of the backtest."""
    lines = markdown.split("Backtest: ")[1].splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:4]]


def test_each_prediction_stands_beside_what_was_found(fit):
    fit["backtest"] = {"rows": ROWS, "text": "One of two losses lay outside."}
    text = table_markdown(ReportedFit.from_json(fit))
    first, second = cells(text)
    assert first == [
        "1",
        "1.5e12",
        "3",
        "66k [52k, 84k]",
        "70k",
        "1.331 [1.311, 1.346]",
        "1.412 outside",
    ]
    assert second[2:5] == ["3.33", "33.1k [25k, 42k]", "34.2k"]
    assert second[5:] == ["–", "–"]
    assert "One of two losses lay outside." in text


def test_too_few_budgets_say_why_there_is_none(fit):
    fit["backtest"] = {"rows": [], "text": "Fewer than 4 budgets."}
    text = table_markdown(ReportedFit.from_json(fit))
    assert "No backtest. Fewer than 4 budgets." in text


def test_a_fit_of_an_earlier_version_has_none(fit):
    fit.pop("backtest", None)
    assert "acktest" not in table_markdown(ReportedFit.from_json(fit))


def test_the_figure_shows_predictions_over_what_was_found(fit):
    fit["backtest"] = {"rows": ROWS, "text": "One of two losses lay outside."}
    figure = backtest_figure(ReportedFit.from_json(fit))
    artists = artists_of(figure)
    drawn = artists["backtest-N_opt-inside"]
    assert drawn.get_xdata().tolist() == pytest.approx([66 / 70, 33.1 / 34.2])
    bars = artists["backtest-N_opt-inside-interval"].get_segments()
    assert bars[0][:, 0].tolist() == pytest.approx([52 / 70, 84 / 70])
    noise = artists["backtest-N_opt-found-interval"].get_segments()
    assert np.log(noise[1][:, 0]) == pytest.approx([-1.96 * 0.05, 1.96 * 0.05], rel=1e-3)
    assert "backtest-L_opt-inside" not in artists
    assert artists["backtest-L_opt-outside"].get_ydata().tolist() == [0]
    assert artists["backtest-L_opt-outside"].get_xdata().tolist() == pytest.approx([1.331 / 1.412])
    assert "does not reach what was found" in texts_of(figure)
    assert "One of two losses lay outside." in texts_of(figure)


def test_the_figure_is_there_as_long_as_the_backtest_is(fit, runs, tmp_path):
    fit["backtest"] = {"rows": ROWS, "text": "One of two losses lay outside."}
    names = {"backtest.svg", "backtest.png"}
    written = {path.name for path in write_report(fit, runs, tmp_path, "token")}
    assert names <= written
    assert all((tmp_path / "figures" / name).stat().st_size > 1000 for name in names)
    fit["backtest"] = {"rows": [], "text": "Fewer than 4 budgets."}
    assert not names & {path.name for path in write_report(fit, runs, tmp_path, "token")}
    assert not any((tmp_path / "figures" / name).exists() for name in names)
