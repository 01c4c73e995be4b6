"""Imported tables: read, mapped, derived, fitted without torch, and refused in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from flops_fit.errors import UserError
from flops_fit.fitting import fit_study
from flops_fit.runs_table import import_runs
from flops_fit.study import RunsTable, Study, unit_of


def frame(n_budgets=4, n_sizes=6):
    C = np.repeat(np.logspace(18, 21, n_budgets), n_sizes)
    N = 0.1 * C**0.5 * np.tile(np.exp(np.linspace(-1.2, 1.2, n_sizes)), n_budgets)
    D = C / (6 * N)
    return pd.DataFrame({"N": N, "D": D, "C": C, "loss": 1.7 + 400 / N**0.34 + 410 / D**0.28})


def read(path, columns=None, unit="token"):
    return import_runs(RunsTable(path=path, columns=columns or {}, unit=unit))


def fit(path, tmp_path, **keys):
    raw = {"study": "own", "runs_table": str(path)} | keys
    study = Study.from_config(raw, tmp_path / "study.yaml")
    runs = tmp_path / "runs.csv"
    import_runs(study.runs_table).to_csv(runs, index=False)
    return fit_study(study, runs)


KINDS = ["csv", "tsv", "jsonl", "ndjson", "parquet"]


def write(data, path):
    kind = path.suffix[1:]
    if kind == "parquet":
        data.to_parquet(path)
    elif kind in ("jsonl", "ndjson"):
        data.to_json(path, orient="records", lines=True, double_precision=15)
    else:
        data.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_runs(tmp_path, kind):
    path = tmp_path / f"runs.{kind}"
    data = frame()
    write(data, path)
    found = read(path)
    for name in ("N", "D", "C", "loss"):
        np.testing.assert_allclose(found[name], data[name], rtol=1e-12)
    assert found["id"].tolist()[:2] == ["row 1", "row 2"]
    assert set(found["status"]) == {"completed"}


def test_columns_are_mapped_and_case_does_not_matter(tmp_path):
    path = tmp_path / "runs.csv"
    data = frame().rename(columns={"N": "params", "C": "c", "loss": "Loss"})
    data.assign(ignored=1).to_csv(path, index=False)
    found = read(path, {"N": "params"})
    np.testing.assert_allclose(found["C"], frame()["C"])
    assert "ignored" not in found


@pytest.mark.parametrize("kind", KINDS)
def test_mapped_columns_of_every_kind_are_fitted(tmp_path, kind):
    path = tmp_path / f"runs.{kind}"
    theirs = {"N": "n params", "D": "tokens", "C": "flops", "loss": "val/loss", "seed": "s"}
    data = frame(5).assign(seed=np.arange(30) % 2, note="text").rename(columns=theirs)
    # A run that was not finished has no loss: an empty cell, a null
    data.loc[30] = data.loc[29]
    data.loc[30, "val/loss"] = np.nan
    data["state"] = ["completed"] * 30 + ["diverged"]
    write(data, path)
    table = {"path": str(path), "columns": theirs | {"status": "state"}}
    study = Study.from_config(
        {"study": "own", "runs_table": table, "fit": {"bootstrap": 0, "approaches": ["3"]}},
        tmp_path / "study.yaml",
    )
    runs = tmp_path / "runs.csv.out"
    import_runs(study.runs_table).to_csv(runs, index=False)
    result = fit_study(study, runs)
    assert result["n_runs"] == 30
    assert result["excluded"] == [{"id": "row 31", "reason": "diverged"}]
    assert result["approaches"]["3"]["surface"]["alpha"] == pytest.approx(0.34, rel=1e-6)


@pytest.mark.parametrize("missing", ["C", "D"])
def test_a_missing_C_or_D_is_derived_and_said(tmp_path, missing):
    path = tmp_path / "runs.csv"
    frame().drop(columns=missing).to_csv(path, index=False)
    np.testing.assert_allclose(read(path)[missing], frame()[missing], rtol=1e-12)
    result = fit(path, tmp_path, fit={"bootstrap": 0, "approaches": ["3"]})
    assert any(f"The table has no {missing}" in w for w in result["warnings"])


def test_a_table_is_fitted_like_a_plan(tmp_path):
    path = tmp_path / "runs.csv"
    frame(5).to_csv(path, index=False)
    result = fit(path, tmp_path, fit={"bootstrap": 0, "params": "total"})
    assert [e["status"] for e in result["approaches"].values()] == ["ok"] * 4
    surface = result["approaches"]["3"]["surface"]
    assert surface["alpha"] == pytest.approx(0.34, rel=1e-6)
    assert surface["beta"] == pytest.approx(0.28, rel=1e-6)


def test_a_large_table_is_fitted_from_file_to_laws(tmp_path):
    """More runs than are refitted in full: 21,000 rows, every approach, intervals that say how."""
    path = tmp_path / "runs.csv"
    rng = np.random.default_rng(0)
    data = pd.concat([frame(6, 7)] * 500, ignore_index=True)
    data["loss"] *= np.exp(0.02 * rng.normal(size=len(data)))
    data.to_csv(path, index=False)
    result = fit(path, tmp_path, fit={"bootstrap": 40, "params": "total"})
    assert result["n_runs"] == 21_000
    assert result["excluded"] == []
    assert [e["status"] for e in result["approaches"].values()] == ["ok"] * 4
    assert "(one Newton step each)" in result["interval_method"]
    for name in ("3", "vpnls"):
        surface = result["approaches"][name]["surface"]
        # An estimate from the truth, in its own standard errors
        assert abs(surface["a"] - 0.28 / 0.62) < 4 * surface["std_err"]["a"]
        assert 0 < surface["std_err"]["a"] < 0.01
    assert result["recommended"]["approach"] in ("3", "vpnls")


def test_C_that_is_not_6ND_is_judged(tmp_path):
    path = tmp_path / "runs.csv"
    data = frame(5)
    data["D"] *= 6 / 4.5
    data.to_csv(path, index=False)
    result = fit(path, tmp_path, fit={"bootstrap": 0})
    assert result["k"]["value"] == pytest.approx(4.5)
    assert any("6ND differs" in w for w in result["warnings"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "no such table"),
        ("runs.xlsx", "x", "must be one of .csv"),
        ("runs.csv", "", "cannot be read as a table"),
        ("runs.csv", "N,D,C,loss\n", "holds no runs"),
        ("runs.csv", "params,D,loss\n1,2,3\n", "lacks N; its columns are params, D, loss"),
        ("runs.csv", "N,loss\n1,2\n", "lacks C or D"),
        ("runs.csv", "N,D,loss\n1,2,3\n4,many,6\n", "D of row 2 is 'many'"),
        ("runs.jsonl", '{"N": 1}\nnonsense\n', "line 2 is not JSON"),
        ("runs.jsonl", "[1]\n", "line 1 is not an object"),
        ("runs.parquet", "N,D,loss\n1,2,3\n", "cannot be read as a table"),
        ("gone.parquet", None, "no such table"),
    ],
)
def test_unusable_files_are_named_in_one_sentence(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_wrong_map_suggests_the_right_name(tmp_path):
    path = tmp_path / "runs.csv"
    frame().rename(columns={"N": "n_params"}).to_csv(path, index=False)
    with pytest.raises(UserError, match="did you mean 'n_params'"):
        read(path, {"N": "nparams"})
    with pytest.raises(UserError, match="found 'M', expected names among"):
        read(path, {"M": "n_params"})


def test_training_keys_beside_a_table_are_refused():
    raw = {"study": "own", "runs_table": "runs.csv"}
    for name in ("model", "dataset", "loss", "plan", "train"):
        with pytest.raises(UserError, match=f"{name}: found beside runs_table"):
            Study.from_config(raw | {name: {}}, "study.yaml")
    study = Study.from_config(raw, "some/where/study.yaml")
    assert str(study.runs_table.path) == "some/where/runs.csv"
    assert study.plan is None


def test_the_unit_of_an_imported_study(tmp_path):
    for node, unit in (("runs.csv", "token"), ({"path": "r.csv", "unit": "image"}, "image")):
        study = Study.from_config({"study": "own", "runs_table": node}, "study.yaml")
        (tmp_path / "study.json").write_text(study.to_json())
        assert unit_of(tmp_path / "study.json") == unit
    (tmp_path / "meta.json").write_text(json.dumps({"unit": "byte"}))
    assert unit_of(tmp_path / "meta.json") == "byte"


def test_import_and_fit_need_no_torch():
    code = (
        "import sys, flops_fit.fitting, flops_fit.runs_table, flops_fit.report.write, "
        "flops_fit.cli, flops_fit.progress_bar; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
