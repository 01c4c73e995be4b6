"""From runs.csv to fit.json: what is fitted, what stays out, and what is refused."""

from __future__ import annotations

import json
import math

import judged
import pytest
from flops_fit.errors import UserError
from flops_fit.files.rows import csv_text
from flops_fit.files.writing import write_json
from flops_fit.pipeline.fitting import fit_study
from flops_fit.records.merged_runs import RUNS_COLUMNS, MergedRun
from hand_computed import FILE, small_study

C_VALUES = (1e18, 1e19, 1e20)
SOURCES = {
    "model_source": "m", "dataset_source": "d", "loss_source": "l", "dataset_content": "c",
}  # fmt: skip


def rows() -> list[dict]:
    """At each budget a parabola in log N around N_opt = 0.1 sqrt(C), with C = 6 N D."""
    made = []
    for C in C_VALUES:
        for i, u in enumerate((-1.5, -0.75, 0.0, 0.75, 1.5)):
            N = 0.1 * math.sqrt(C) * math.exp(u)
            made.append(
                SOURCES
                | {
                    "id": f"{len(made):012x}", "status": "completed", "budget": C, "size": i + 1,
                    "seed": 0, "lr": 0.1, "N": N, "D": C / (6 * N), "C": C, "batch": 1,
                    "loss": 1 + 100 * C**-0.1 + 0.1 * u**2, "flops_per_unit": 6 * N,
                    "n_params": N, "n_params_non_embedding": N, "steps": 1000, "epochs": 0.1,
                }
            )  # fmt: skip
    return made


def runs_csv(made: list[dict]) -> str:
    return csv_text(MergedRun, [MergedRun(**row) for row in made])


def fit(tmp_path, made: list[dict], changes: dict | None = None) -> dict:
    file = tmp_path / "runs.csv"
    file.write_text(runs_csv(made), encoding="utf-8")
    return fit_study(small_study(changes), file)


def refusal(*arguments) -> str:
    with pytest.raises(UserError) as caught:
        fit(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_known_law_comes_back(tmp_path):
    found = fit(tmp_path, rows(), {"fit.params": "total"})
    assert (found["study"], found["params"], found["n_runs"]) == ("small", "total", 15)
    law = found["approaches"]["2"]["N_opt"]
    assert law["exponent"] == pytest.approx(0.5, abs=1e-9)
    assert law["coefficient"] == pytest.approx(0.1, rel=1e-7)
    assert found["excluded"] == []
    write_json(tmp_path / "fit.json", found)  # plain values, no nan
    assert json.loads((tmp_path / "fit.json").read_text()) == found


def test_ids_and_sizes_stay_text(tmp_path):
    """12 hexadecimal digits may well spell a number: 000000000001, or 12345e678901."""
    made = [row | {"id": f"{i:012d}"} for i, row in enumerate(rows())]
    made[0]["id"], made[1]["id"] = "12345e678901", "000000000099"
    made[0]["loss"] = 9.0
    found = fit(tmp_path, made, {"fit.exclude": ["12345e678901", "000000000099"]})
    assert {run["id"] for run in found["excluded"]} == {"12345e678901", "000000000099"}
    assert found["n_runs"] == 13


def test_an_excluded_id_must_exist(tmp_path):
    message = refusal(tmp_path, rows(), {"fit.exclude": ["0" * 12, "feedfeedfeed"]})
    assert message == (
        f"{FILE}: fit.exclude: found 'feedfeedfeed', expected ids of {tmp_path / 'runs.csv'}"
    )


@pytest.mark.parametrize("column", [*SOURCES, "optimizer_source"])
def test_runs_of_different_code_are_refused(tmp_path, column):
    made = rows()
    made[3][column] = made[4][column] = "123456e78901"
    message = refusal(tmp_path, made)
    assert message.startswith(f"{tmp_path / 'runs.csv'}: runs of different code or data are mixed")
    first = SOURCES.get(column, "none")
    assert (
        f"({column.replace('_', ' ')}: 13 runs with {first} (000000000000, 000000000001, "
    ) in message
    assert "2 runs with 123456e78901 (000000000003, 000000000004))" in message
    assert "00000000000d and 1 more), 2 runs" in message
    assert "fit.allow_mixed_code: true" in message


def test_mixed_code_may_be_allowed_and_is_warned_about(tmp_path):
    made = rows()
    made[3]["model_source"] = "n"
    found = fit(tmp_path, made, {"fit.allow_mixed_code": True})
    assert found["n_runs"] == 15
    fingerprints = judged.only(found, "mixed_code")["fingerprints"]
    assert list(fingerprints) == ["model_source"]
    assert fingerprints["model_source"]["n"] == ["000000000003"]
    assert len(fingerprints["model_source"]["m"]) == 14
    clean = fit(tmp_path, rows(), {"fit.allow_mixed_code": True})
    assert not judged.found(clean, "mixed_code")


def test_runs_that_are_not_fitted_may_be_of_other_code(tmp_path):
    made = rows()
    made[2] |= {"status": "diverged", "loss": None, "model_source": "n"}
    made[7] |= {"loss_source": "n"}
    found = fit(tmp_path, made, {"fit.exclude": [made[7]["id"]]})
    assert found["n_runs"] == 13


def test_a_damaged_table_of_our_own_makes_room_for_another(tmp_path):
    file = tmp_path / "runs.csv"
    whole = runs_csv(rows())
    for name in RUNS_COLUMNS:
        file.write_text(whole.replace(name, f"{name}x", 1))
        with pytest.raises(
            UserError, match=r"runs\.csv: column \w+: is missing; it is runs\.csv\.d"
        ):
            fit_study(small_study(), file)
        assert not file.exists()
    for name in ("status", "budget", "N", "D", "C", "loss", "steps"):
        file.write_text(runs_csv([*rows()[:-1], rows()[-1] | {name: "1x"}]))
        with pytest.raises(UserError, match=f"00000000000e: {name}: found '1x'"):
            fit_study(small_study(), file)
        assert not file.exists()
