"""The three lines that end a run: true in every state, and no command that was just refused."""

from __future__ import annotations

import os
from itertools import count

import pytest
from flops_fit.errors import UserError
from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.closing import print_closing_lines
from flops_fit.pipeline.next_command import NextCommands
from flops_fit.plan.files import plan_csv
from hand_computed import planned, record_of

PLAN = planned({"plan.seeds": [0, 1]})
LAUNCH = "/somewhere/accelerate launch --config_file=a.yaml train.py --id=x\n"
COMMANDS = NextCommands(go_on="GO ON", partial="PARTIAL")
TITLE = "C=6e+06 size=50 seed=0 lr=0.01"
SENTENCE = "error: a.yaml: fit.exclude: found 'x', expected ids of runs.csv"
TRACEBACK = "Traceback (most recent call last):\n  File \"fit.py\", line 1\nKeyError: 'x'"
OUTPUTS = {"collect": "runs.csv", "fit": "fit.json", "report": "table.md"}
ASKED = "  next: do what that sentence asks for, then `GO ON`"


class Folder:
    """A study's folder whose files are each written a second after the one before."""

    def __init__(self, path, capsys):
        self.path, self.capsys = path, capsys
        self.times = count(10**9)

    def write(self, name: str, text: str = "") -> None:
        write_whole(self.path / name, text)
        self.touch(name)

    def touch(self, name: str) -> None:
        time = next(self.times)
        os.utime(self.path / name, (time, time))

    def train(self, *rows, **changes) -> None:
        for row in rows:
            write_json(self.path / "runs" / f"{row.id}.json", record_of(row, **changes))
            self.touch(f"runs/{row.id}.json")

    def log(self, row, text: str) -> None:
        self.write(f"logs/{row.id}.log", LAUNCH + text)

    def finish(self, *steps: str) -> None:
        """What the steps after the training leave behind."""
        for step, output in {
            "collect": "runs.csv",
            "fit": "fit.json",
            "report": "table.md",
        }.items():
            if not steps or step in steps:
                self.write(f"logs/{step}.log")
                self.write(output)

    def lines(self, refusal=lambda planned: None) -> list[str]:
        plan_logs = [self.path / "logs" / f"{step}.log" for step in ("prepare", "plan")]
        print_closing_lines("small", self.path, plan_logs, COMMANDS, refusal)
        empty, *lines = self.capsys.readouterr().err.splitlines()
        assert empty == ""
        return [line.replace(f"{self.path}/", "") for line in lines]


@pytest.fixture
def folder(tmp_path, capsys):
    found = Folder(tmp_path, capsys)
    found.write("logs/plan.log")
    found.write("plan.csv", plan_csv(PLAN))
    return found


@pytest.fixture
def trained(folder):
    folder.train(*PLAN.experiments)
    return folder


# Experiments -------------------------------------------------------------------------------------


def test_nothing_is_trained_so_there_is_nothing_to_fit(folder):
    assert folder.lines() == [
        "small: 8 experiments: 0 done, 0 diverged, 0 failed, 8 missing",
        f"  not trained yet: {TITLE} and 7 more",
        "  next: `GO ON` trains only what is missing",
    ]


def test_what_is_there_can_be_fitted(folder):
    folder.train(*PLAN.experiments[4:], status="completed")
    folder.train(PLAN.experiments[3], status="diverged", loss=None)
    # Four are no evidence of any law.
    assert folder.lines()[2] == "  next: `GO ON` trains only what is missing"
    folder.train(PLAN.experiments[3])
    assert folder.lines()[1:] == [
        f"  not trained yet: {TITLE} and 2 more",
        "  next: `GO ON` trains only what is missing; `PARTIAL` fits what is there",
    ]


def test_an_experiment_that_was_stopped_is_started_again(folder):
    first, second, *others = PLAN.experiments
    folder.train(*others)
    folder.log(first, "2026-01-02 03:04:05 stopped at step 7\n")
    folder.log(second, "2026-01-02 03:04:05 stopped at step 8\n")
    assert folder.lines()[1:] == [
        f"  failed: {TITLE} (and 1 more): 2026-01-02 03:04:05 stopped at step 7 "
        f"(logs/{first.id}.log)",
        "  next: `GO ON` trains only what is missing; `PARTIAL` fits what is there",
    ]


@pytest.mark.parametrize("before", ["", "2026-01-02 03:04:05 ", "2026-01-02 03:04:05 [process 1] "])
def test_an_experiment_that_was_refused_is_not_just_started_again(folder, before):
    first, second, *others = PLAN.experiments
    folder.train(*others)
    folder.log(first, "stopped\n")  # the same command goes on from there
    folder.log(second, f"a line\n{before}error: sizes: found 50, expected 60\n")
    assert folder.lines()[1:] == [
        f"  failed: {second.title} (and 1 more): error: sizes: found 50, expected 60 "
        f"(logs/{second.id}.log)",
        f"{ASKED} trains only what is missing; `PARTIAL` fits what is there",
    ]


def test_a_record_that_cannot_be_used_stays_so(folder):
    folder.train(*PLAN.experiments)
    folder.write(f"runs/{PLAN.experiments[0].id}.json", '{"id": "')
    _, second, third = folder.lines()
    assert second.startswith(f"  failed: {TITLE}: ")
    assert second.endswith(f"(runs/{PLAN.experiments[0].id}.json)")
    assert third == f"{ASKED} trains only what is missing; `PARTIAL` fits what is there"


def test_a_training_that_would_be_refused_is_not_just_advised(folder):
    def refusal(planned):
        assert [row.id for row in planned] == [row.id for row in PLAN.experiments]
        return UserError("a.yaml: the code of loss is not that of the trained experiments")

    said = "error: a.yaml: the code of loss is not that of the trained experiments"
    assert folder.lines(refusal)[1:] == [
        f"  failed: {said} (plan.csv)",
        f"{ASKED} goes on from there",
    ]
    # What has failed already is said first, and a finished study does not mind.
    folder.write("logs/plan.log", f"{SENTENCE}\n")
    assert SENTENCE in folder.lines(refusal)[1]
    folder.write("logs/plan.log")
    folder.train(*PLAN.experiments)
    assert folder.lines(refusal)[2] == "  next: `GO ON` fits the laws"


# After the training ------------------------------------------------------------------------------


def test_the_laws_are_not_fitted_yet(trained):
    assert trained.lines()[1:] == [
        "  all records are in runs",
        "  next: `GO ON` fits the laws",
    ]
    trained.finish("collect")
    assert trained.lines()[1].endswith("runs, merged in runs.csv")
    assert trained.lines()[2] == "  next: `GO ON` fits the laws"


def test_a_finished_study_is_to_be_read(trained):
    trained.finish()
    assert trained.lines() == [
        "small: 8 experiments: 8 done, 0 diverged, 0 failed, 0 missing",
        "  all records are in runs, merged in runs.csv",
        "  next: read table.md, and look at figures",
    ]


def test_laws_that_are_older_than_the_runs_are_not_to_be_read(trained):
    trained.finish()
    trained.train(PLAN.experiments[0])
    _, second, third = trained.lines()
    assert "merged" not in second
    assert third == "  next: `GO ON` brings the laws and their table up to date"
    trained.finish("collect", "fit")
    assert trained.lines()[2] == "  next: `GO ON` brings the laws and their table up to date"


@pytest.mark.parametrize("step", ["prepare", "plan", "collect", "fit", "report"])
@pytest.mark.parametrize("older", [True, False], ids=["older results", "no results"])
def test_a_step_that_was_refused_is_not_just_repeated(trained, step, older):
    if older:
        trained.finish()
    trained.write(f"logs/{step}.log", f"{SENTENCE}\n")
    assert trained.lines()[1:] == [
        f"  failed: {SENTENCE} (logs/{step}.log)",
        f"{ASKED} goes on from there",
    ]
    # Once it ends well, nothing of that is left.
    trained.write(f"logs/{step}.log")
    trained.finish()
    assert trained.lines()[2] == "  next: read table.md, and look at figures"


def test_the_whole_sentence_is_shown(trained):
    sentence = f"error: runs of different code are mixed ({'0123456789ab, ' * 100}); set this: true"
    trained.write("logs/fit.log", f"{sentence}\n")
    assert trained.lines()[1] == f"  failed: {sentence} (logs/fit.log)"


def test_a_step_that_crashed_is_looked_into(trained):
    trained.write("logs/fit.log", f"{TRACEBACK}\n")
    assert trained.lines()[1:] == [
        "  failed: KeyError: 'x' (logs/fit.log)",
        "  next: read in logs/fit.log what went wrong; `GO ON` tries it again",
    ]


@pytest.mark.parametrize("newer", ["logs/plan.log", "logs/collect.log", "a record", "a log"])
def test_a_refusal_is_over_once_something_ran_after_it(trained, newer):
    trained.write("logs/fit.log", f"{SENTENCE}\n")
    last = PLAN.experiments[-1]
    if newer == "a record":
        trained.train(last)
    else:
        trained.write(f"logs/{last.id}.log" if newer == "a log" else newer)
    assert trained.lines()[2] == "  next: `GO ON` fits the laws"


# Part of a study ---------------------------------------------------------------------------------


def test_a_partial_fit_that_was_refused_is_not_advised(folder):
    folder.train(*PLAN.experiments[1:])
    folder.write("logs/partial.log", f"{SENTENCE}\n")
    assert folder.lines()[1:] == [
        f"  failed: {SENTENCE} (logs/partial.log)",
        "  next: do what that sentence asks for; `GO ON` trains only what is missing",
    ]
    folder.write("logs/partial.log", f"{TRACEBACK}\n")
    assert folder.lines()[2] == "  next: `GO ON` trains only what is missing"
    # With every record there, the whole fit would be refused as well.
    folder.train(PLAN.experiments[0])
    folder.write("logs/partial.log", f"{SENTENCE}\n")
    assert folder.lines()[2] == f"{ASKED} goes on from there"


# Without a plan ----------------------------------------------------------------------------------


def test_a_plan_that_was_refused_is_not_just_repeated(folder):
    (folder.path / "plan.csv").unlink()
    folder.write("logs/plan.log", f"{SENTENCE}\n")
    none = "small: no experiment is planned: 0 done, 0 diverged, 0 failed, 0 missing"
    assert folder.lines() == [
        none, f"  failed: {SENTENCE} (logs/plan.log)", f"{ASKED} goes on from there",
    ]  # fmt: skip
    folder.write("logs/prepare.log", "error: the dataset is empty\n")
    assert folder.lines()[1] == "  failed: error: the dataset is empty (logs/prepare.log)"
    folder.write("logs/prepare.log")
    assert folder.lines() == [
        none,
        "  failed: the run ended before its experiments were planned",
        "  next: read above what ended it; then `GO ON` goes on from there",
    ]


def test_a_damaged_plan_is_planned_again(folder):
    folder.write("plan.csv", "id\n")
    _, second, third = folder.lines()
    assert second.startswith("  failed: plan.csv: ")
    assert "is missing" in second
    assert third == f"{ASKED} plans again"


def test_a_closed_terminal_is_no_error(folder, monkeypatch):
    class Closed:
        def write(self, text):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("sys.stderr", Closed())
    print_closing_lines("small", folder.path, [], COMMANDS)
