"""The state of every planned experiment, from what lies in the study's folder."""

from __future__ import annotations

import fcntl

import pytest
from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.status import headline, last_lines, missing_text, study_outcomes
from flops_fit.plan.files import plan_csv, read_plan
from flops_fit.records.experiment_files import state_folder
from hand_computed import planned, record_of, spec_of

PLAN = planned()
COMMAND = "/somewhere/accelerate launch --config_file=a.yaml train.py --id=x\n"


@pytest.fixture
def rows(tmp_path):
    write_whole(tmp_path / "plan.csv", plan_csv(PLAN))
    return read_plan(tmp_path / "plan.csv")


def finish(folder, row, **changes):
    write_json(folder / "runs" / f"{row.id}.json", record_of(row, **changes))


def test_every_state_is_told_from_the_others(tmp_path, rows):
    done, diverged, failed, waiting = PLAN.experiments[:4]
    finish(tmp_path, done)
    finish(tmp_path, diverged, status="diverged", loss=None)
    write_whole(tmp_path / "logs" / f"{failed.id}.log", COMMAND + "error: no memory\n")
    outcomes = study_outcomes(rows, tmp_path)
    assert [o.id for o in outcomes] == [e.id for e in PLAN.experiments]
    assert [o.state for o in outcomes] == ["done", "diverged", "failed", "missing"]
    assert [o.finished for o in outcomes] == [True, True, False, False]
    assert outcomes[2].reason.endswith("error: no memory")
    assert outcomes[3].reason == "it was not started"
    assert headline(outcomes) == "4 experiments: 1 done, 1 diverged, 1 failed, 1 missing"
    state_folder(tmp_path, waiting.id).mkdir(parents=True)
    for name in ("lock", "launch.lock"):
        with open(state_folder(tmp_path, waiting.id) / name, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            outcomes = study_outcomes(rows, tmp_path)
            assert outcomes[3].state == "running"
            assert "1 running" in headline(outcomes)
    assert study_outcomes(rows, tmp_path)[3].state == "missing"


def test_a_record_that_cannot_be_used_has_failed_and_says_why(tmp_path, rows):
    edited, truncated = PLAN.experiments[:2]
    finish(tmp_path, edited, spec=spec_of(edited).to_json() | {"lr": 9.0})
    write_whole(tmp_path / "runs" / f"{truncated.id}.json", '{"id": "')
    outcomes = study_outcomes(rows, tmp_path)
    assert [o.state for o in outcomes[:2]] == ["failed", "failed"]
    assert "id: found" in outcomes[0].reason
    assert "is no JSON file" in outcomes[1].reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (COMMAND, "it was stopped before its first line"),
        ("error: no launch here\n", "error: no launch here"),
        (COMMAND + "one\ntwo\n", "one\ntwo"),
        (COMMAND + "one\n\ntwo\nthree\nfour\n", "two\nthree\nfour"),
        ("x" * 100_000 + "\nthe end\n", "x" * 300 + "\nthe end"),
    ],
)
def test_a_log_is_shown_by_its_last_lines(tmp_path, text, expected):
    (tmp_path / "log").write_text(text)
    assert last_lines(tmp_path / "log") == expected
    assert last_lines(tmp_path / "none") is None


def test_what_is_missing_is_listed_with_the_reason(tmp_path, rows):
    first, second, *others = PLAN.experiments
    for row in others:
        finish(tmp_path, row)
    write_whole(tmp_path / "logs" / f"{second.id}.log", COMMAND + "error: no memory\n")
    text = missing_text(study_outcomes(rows, tmp_path))
    assert f"{first.id}  C=6e+06 size=50 seed=0 lr=0.01: missing\n" in text
    assert f"{second.id}  C=6e+06 size=100 seed=0 lr=0.01: failed\n" in text
    assert "    error: no memory\n" in text
    assert str(tmp_path / "logs" / f"{second.id}.log") in text
    assert not any(row.id in text for row in others)
