"""Tables as people and trackers write them give the runs of the plain table."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from flops_fit.errors import UserError
from flops_fit.pipeline.fitting import fit_study
from flops_fit.records.imported_table import import_runs
from flops_fit.records.numbers import read_numbers
from flops_fit.report.fitted import ReportedFit
from flops_fit.report.tables import table_markdown
from flops_fit.study.study import RunsTable, Study
from judged import found, only

WANTED = ["N", "D", "C", "loss"]


def plain(n_budgets=4, n_sizes=6):
    """Whole N and D, C = 6 N D, losses of a known surface."""
    C = np.repeat(np.logspace(18, 21, n_budgets), n_sizes)
    N = 0.1 * C**0.5 * np.tile(np.exp(np.linspace(-1.2, 1.2, n_sizes)), n_budgets)
    N = np.round(N, -5)
    D = np.round(C / (6 * N), -6)
    return pd.DataFrame(
        {"N": N, "D": D, "C": 6 * N * D, "loss": np.round(1.7 + 400 / N**0.34 + 410 / D**0.28, 6)}
    )


def read(path, **keys):
    return import_runs(RunsTable(path=path, columns=keys.pop("columns", {}), unit="token", **keys))


def assert_is_plain(runs, wanted=None):
    wanted = plain() if wanted is None else wanted
    for name in WANTED:
        np.testing.assert_allclose(runs[name].astype(float), wanted[name], rtol=1e-12)


def fit(path, tmp_path, **keys):
    raw = {"study": "own", "runs_table": str(path), "fit": {"bootstrap": 0, "approaches": ["3"]}}
    study = Study.from_config(raw | keys, tmp_path / "study.yaml")
    runs = tmp_path / "runs.csv.out"
    import_runs(study.runs_table).to_csv(runs, index=False)
    return fit_study(study, runs)


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found(tmp_path, ending, separator):
    path = tmp_path / f"runs.{ending}"
    plain().assign(note="a, b; c").to_csv(path, index=False, sep=separator)
    assert_is_plain(read(path))


def test_the_separator_that_excel_states_counts(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("sep=;\r\n" + plain().to_csv(index=False, sep=";", lineterminator="\r\n"))
    assert_is_plain(read(path))
    path.write_text("sep=;\nN;D;loss\n1;2;3;4\n")
    with pytest.raises(UserError, match="line 3 has 4 fields, but the header has 3"):
        read(path)


def test_blank_rows_are_skipped(tmp_path):
    path = tmp_path / "runs.csv"
    lines = plain().to_csv(index=False, sep=";").splitlines()
    path.write_text("\n".join(["", lines[0], ";;;", *lines[1:5], " ; ;;", "", *lines[5:], ";;;"]))
    assert_is_plain(read(path))


def test_decimal_commas_are_read_beside_semicolons(tmp_path):
    path = tmp_path / "runs.csv"
    plain().to_csv(path, index=False, sep=";", decimal=",", float_format="%.12g")
    assert_is_plain(read(path))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "ndjson", "json"])
def test_compressed_text_is_read(tmp_path, ending):
    path = tmp_path / f"runs.{ending}.gz"
    data = plain()
    text = {
        "csv": lambda: data.to_csv(index=False),
        "tsv": lambda: data.to_csv(index=False, sep="\t"),
        "json": lambda: data.to_json(orient="records", double_precision=15),
    }.get(ending, lambda: data.to_json(orient="records", lines=True, double_precision=15))()
    path.write_bytes(gzip.compress(text.encode()))
    assert_is_plain(read(path))
    path.write_bytes(gzip.compress(text.encode())[:-30])
    with pytest.raises(UserError, match="cannot be read as a table of runs"):
        read(path)
    path.write_text(text)
    with pytest.raises(UserError, match=r"cannot be read as a table of runs .*gzip"):
        read(path)


@pytest.mark.parametrize("orient", ["records", "list", "columns"])
def test_json_is_read_by_records_and_by_columns(tmp_path, orient):
    path = tmp_path / "runs.json"
    if orient == "list":
        path.write_text(json.dumps(plain().to_dict("list")))
    else:
        plain().to_json(path, orient=orient, double_precision=15)
    assert_is_plain(read(path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "it is not JSON that can be read"),
        ("3", "found neither a list of objects nor an object of columns"),
        ("[1, 2]", "found neither a list of objects nor an object of columns"),
        ('{"N": 1, "loss": 2}', "column 'N' is not a list of cells, one per run"),
        ('{"N": [1, 2], "loss": [3]}', r"its columns differ in length \(N: 2, loss: 1\)"),
    ],
)
def test_json_of_another_shape_is_refused(tmp_path, content, reason):
    path = tmp_path / "runs.json"
    path.write_text(content)
    with pytest.raises(UserError, match=f"{path}: cannot be read as a table of runs .{reason}"):
        read(path)


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1.3B", "350M", "70b", "125m", "5k", "2T"], [1.3e9, 3.5e8, 7e10, 1.25e8, 5e3, 2e12]),
        (["1.3 billion", "350 M params", "2.5bn tokens"], [1.3e9, 3.5e8, 2.5e9]),
        (["21,100,387", "350,000", "7"], [21_100_387, 350_000, 7]),
        (["21 100 387", "21\u202f100\u00a0387", "21'100'387"], [21_100_387] * 3),
        (["21.100.387", "1e9", "1_000"], [21_100_387, 1e9, 1000]),
        (["1,234.5", "-2"], [1234.5, -2]),
        (["1,7e9", "2,125e9"], [1.7e9, 2.125e9]),
        (["0,125", "1,300", "21.100,5"], [0.125, 1.3, 21_100.5]),
        (["1,3B", "1,300M"], [1.3e9, 1.3e6]),
        ([5, 2.5, True, None], [5, 2.5, 1, np.nan]),
    ],
)
def test_counts_are_read_as_people_write_them(cells, numbers):
    read_, wrong = read_numbers(cells, counts=True)
    assert wrong is None
    np.testing.assert_array_equal(read_, numbers)


def test_a_comma_in_a_loss_is_a_decimal_one():
    assert read_numbers(["2,345", "3,1"], counts=False) == ([2.345, 3.1], None)
    assert read_numbers(["1e-3", "5E-4", ".5"], counts=False) == ([1e-3, 5e-4, 0.5], None)


@pytest.mark.parametrize(
    ("cells", "wrong"),
    [
        (["1", "many"], 1),
        (["21,100,387", "2,5"], 0),
        (["1.3B", "2,10,38"], 1),
        (["3Q"], 0),
        ([[1]], 0),
        (["1e400"], 0),
        (["..", "1B"], 0),
        (["1.2.3"], 0),
    ],
)
def test_what_is_no_number_is_found(cells, wrong):
    assert read_numbers(cells, counts=True)[1] == wrong


def test_suffixes_are_not_read_in_losses():
    assert read_numbers(["2.5k"], counts=False)[1] == 0


@pytest.mark.parametrize(
    "names",
    [
        ("params", "tokens", "flops", "val_loss"),
        ("n_params", "Train Tokens", "compute", "val/loss"),
        ("model_size", "tokens_seen", "total_flops", "final_loss"),
        ("Num Params", "n_tokens", "training-compute", "eval/loss"),
        ("n", "d", "c", "LOSS"),
    ],
)
def test_usual_names_are_understood(tmp_path, names):
    path = tmp_path / "runs.csv"
    data = plain().set_axis(list(names), axis=1).assign(learning_rate=0.01, train_loss=9)
    data.to_csv(path, index=False)
    runs = read(path)
    assert_is_plain(runs)
    assert set(runs["lr"]) == {0.01}


def test_the_units_own_names_are_understood(tmp_path):
    path = tmp_path / "runs.csv"
    plain().rename(columns={"D": "num_images"}).drop(columns="C").to_csv(path, index=False)
    table = RunsTable(path=path, columns={}, unit="image")
    np.testing.assert_array_equal(import_runs(table)["D"], plain()["D"])
    with pytest.raises(UserError, match=r"lacks C or D; .* D may be 'num_images'"):
        read(path)


def test_our_own_name_comes_before_a_usual_one(tmp_path):
    path = tmp_path / "runs.csv"
    plain().assign(val_loss=9, params=1, flops=2, tokens=3).to_csv(path, index=False)
    assert_is_plain(read(path))


def test_a_name_that_the_study_maps_is_not_used_twice(tmp_path):
    path = tmp_path / "runs.csv"
    data = plain().rename(columns={"N": "size of it", "C": "params"})
    data.to_csv(path, index=False)
    assert_is_plain(read(path, columns={"N": "size of it", "C": "params"}))


def test_columns_that_may_both_be_meant_are_asked_about(tmp_path):
    path = tmp_path / "runs.csv"
    data = plain().rename(columns={"N": "n_params"})
    data["n_params_non_embedding"] = data["n_params"]
    data.to_csv(path, index=False)
    assert_is_plain(read(path))  # they agree: any will do
    data.assign(n_params_non_embedding=data["n_params"] / 2).to_csv(path, index=False)
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: several columns may be N (n_params, n_params_non_embedding); say which one is, "
        "as in runs_table: {path: ..., columns: {N: n_params}}"
    )
    assert_is_plain(read(path, columns={"N": "n_params"}))


def test_likely_columns_are_proposed_by_name(tmp_path):
    path = tmp_path / "runs.csv"
    names = {"N": "active params", "D": "data size", "C": "pf: flops", "loss": "nll"}
    plain().rename(columns=names).assign(note=1).to_csv(path, index=False)
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: the table lacks N, loss, C or D; its columns are active params, data size, "
        "pf: flops, nll, note. N may be 'active params' or 'data size'; loss may be 'nll'; C may "
        "be 'pf: flops'; D may be 'data size'. Map them, as in runs_table: {path: ..., columns: "
        "{N: active params, loss: nll, C: 'pf: flops', D: data size}}"
    )


def test_states_of_a_tracker_complete_a_run_or_leave_it_out_by_name(tmp_path):
    path = tmp_path / "runs.csv"
    data = plain(5).assign(State="finished")
    truth = fit(path_of(data, path), tmp_path)
    more = data.iloc[[3, 8, 13, 18, 23]].assign(
        State=["crashed", "failed", "Killed", "running", "crashed"], loss=[9, 8, np.nan, 7, 6]
    )
    result = fit(path_of(pd.concat([data, more]), path), tmp_path)
    assert result["n_runs"] == truth["n_runs"] == 30
    assert result["approaches"]["3"]["surface"] == truth["approaches"]["3"]["surface"]
    assert [(e["id"], e["reason"]) for e in result["excluded"]] == [
        (f"row {31 + i}", f"not finished: {state} in the table")
        for i, state in enumerate(["crashed", "failed", "killed", "running", "crashed"])
    ]
    states = {"crashed": 2, "failed": 1, "killed": 1, "running": 1}
    assert only(result, "unfinished_runs", None) == {"n": 5, "of": 35, "states": states}
    assert not found(truth, "unfinished_runs", None)
    excluded = {"bootstrap": 0, "approaches": ["3"], "exclude": ["row 31", "row 2"]}
    assert fit(path, tmp_path, fit=excluded)["n_runs"] == 29


def path_of(data, path):
    data.to_csv(path, index=False)
    return path


def test_a_column_of_true_and_false_says_whether_runs_are_done(tmp_path):
    path = path_of(plain().assign(done=[True] * 23 + [False]), tmp_path / "runs.csv")
    assert set(read(path)["status"]) == {"completed"}
    assert read(path, columns={"status": "done"})["status"].iloc[-1] == "unfinished"


def test_states_that_say_nothing_known_are_refused(tmp_path):
    path = path_of(plain().assign(state=["finished"] * 23 + ["odd"]), tmp_path / "runs.csv")
    with pytest.raises(UserError, match=f"{path}: status of row 24 is 'odd', expected completed"):
        read(path)
    path_of(plain().assign(state="Oregon"), path)
    assert set(read(path)["status"]) == {"completed"}  # a column about something else
    with pytest.raises(UserError, match=f"{path}: status of row 1 is 'Oregon', expected"):
        read(path, columns={"status": "state"})
    path_of(plain().assign(state="crashed"), path)
    with pytest.raises(UserError, match=f"{path}: no run of the table has finished .24 crashed"):
        read(path)


def test_a_column_trunk_names_checkpoints_of_one_training(tmp_path):
    data = plain()
    data["trunk"] = [f"t{i // 2}" for i in range(len(data))]
    path = path_of(data, tmp_path / "runs.csv")
    assert read(path)["trunk"].tolist() == data["trunk"].tolist()
    result = fit(path, tmp_path, fit={"bootstrap": 20, "approaches": ["3"]})
    assert "whole trainings" in result["interval_method"]


def test_rows_that_repeat_with_their_id_are_told_apart_and_others_refused(tmp_path):
    data = plain(5).assign(id=[f"r{i}" for i in range(30)])
    path = path_of(pd.concat([data, data.iloc[[4]]]), tmp_path / "runs.csv")
    assert read(path)["id"].tolist()[-1] == "r4 (row 31)"
    assert only(fit(path, tmp_path), "repeated_runs", None)["n"] == 1
    path_of(pd.concat([data, data.iloc[[4]].assign(loss=9)]), path)
    with pytest.raises(UserError, match="Two runs have the id r4"):
        fit(path, tmp_path)
    # A run that crashed and was begun again under its name
    path_of(pd.concat([data, data.iloc[[4]].assign(loss=9, state="crashed")]), path)
    result = fit(path, tmp_path)
    assert (result["n_runs"], result["excluded"][0]["id"]) == (30, "r4 (row 31)")


def test_units_that_the_study_states_are_multiplied_in(tmp_path):
    data = plain(5)
    path = path_of(data.assign(N=data["N"] / 1e6, C=data["C"] / 8.64e19), tmp_path / "runs.csv")
    doubted = fit(path, tmp_path)
    asked = {e["column"]: e["factor"] for e in only(doubted, "units", None)["columns"]}
    assert asked == {"N": 1e6, "C": 8.64e19}
    table = {"path": str(path), "scale": {"N": "1e6", "C": 8.64e19}}
    result = fit(path, tmp_path, runs_table=table)
    assert result["k"]["value"] == pytest.approx(6)
    assert not found(result, "units")
    with pytest.raises(UserError, match=r"runs_table.scale: found 'lr', expected columns of num"):
        fit(path, tmp_path, runs_table=table | {"scale": {"lr": 2}})


@pytest.mark.parametrize("unit", [None, "bits_per_byte", "nats_per_token"])
def test_the_unit_of_the_losses_and_what_N_counts_are_stated_not_assumed(tmp_path, unit):
    data = plain(5)
    path = path_of(data.assign(loss=data["loss"] / 3.2), tmp_path / "runs.csv")
    result = fit(path, tmp_path, runs_table={"path": str(path), "loss_unit": unit})
    assert (result["loss_unit"], result["params"]) == (unit, "as_in_table")
    assert bool(found(result, "units")) == (unit is None)
    text = table_markdown(ReportedFit.from_json(result))
    assert f"L in {'nats per token' if unit is None else unit.replace('_', ' ')}." in text
    assert "N counts parameters as the table does (fit.params does not say which)." in text
    options = {"bootstrap": 0, "approaches": ["3"], "params": "total"}
    stated = fit(path, tmp_path, fit=options)
    assert stated["params"] == "total"
    assert "N counts total parameters." in table_markdown(ReportedFit.from_json(stated))


def test_losses_of_other_units_of_data_are_not_doubted(tmp_path):
    data = plain(5)
    path = path_of(data.assign(loss=data["loss"] / 3), tmp_path / "runs.csv")
    result = fit(path, tmp_path, runs_table={"path": str(path), "unit": "image"})
    assert not found(result, "units")
