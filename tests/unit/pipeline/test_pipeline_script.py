"""How a script ends, where its numbers come from, and what a person sees of a running one."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import flops_fit
import pytest
import torch
from flops_fit.errors import UserError
from flops_fit.pipeline.script import reported
from flops_fit.plan.files import plan_jobs
from flops_fit.plan.plan import make_plan
from flops_fit.study.spec import OptimizerSpec
from flops_fit.train import progress
from flops_fit.train.code import code_after_a_step, code_at_start
from flops_fit.train.provenance import collect_provenance, git_state, now
from flops_fit.train.state import Attempts
from flops_fit.user_code.file_fingerprint import file_fingerprint
from hand_computed import dataset_meta, measures, small_study


def test_a_mistake_of_the_user_is_a_sentence_in_the_log(tmp_path):
    log = tmp_path / "logs" / "plan.log"
    with pytest.raises(SystemExit) as caught, reported(log):
        raise UserError("my.yaml: ü is missing")
    assert caught.value.code == 1
    assert log.read_text(encoding="utf-8") == "error: my.yaml: ü is missing\n"


def test_a_defect_keeps_its_traceback(tmp_path):
    log = tmp_path / "plan.log"
    with pytest.raises(SystemExit) as caught, reported(log):
        raise KeyError("specs")
    assert caught.value.code == 1
    text = log.read_text(encoding="utf-8")
    assert text.startswith("Traceback (most recent call last):\n")
    assert __file__ in text
    assert text.endswith("KeyError: 'specs'\n")


def test_a_log_without_an_error_is_empty(tmp_path):
    log = tmp_path / "plan.log"
    log.write_text("error: of last time\n")
    with reported(log):
        assert log.read_text() == ""
    assert log.read_text() == ""


def test_an_interruption_is_no_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), reported(tmp_path / "plan.log"):
        raise KeyboardInterrupt
    assert (tmp_path / "plan.log").read_text() == ""


# Provenance --------------------------------------------------------------------------------------


def git(folder, *arguments) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_the_users_code(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    assert git_state(tmp_path) is None  # no commit yet
    (tmp_path / "mine.py").write_text("a = 1\n")
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "commit", "-m", "first")
    state = {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    assert git_state(tmp_path) == state
    (tmp_path / "untracked.txt").write_text("results, for example")
    assert git_state(tmp_path) == state
    (tmp_path / "sub").mkdir()
    assert git_state(tmp_path / "sub") == state
    (tmp_path / "mine.py").write_text("a = 2\n")
    assert git_state(tmp_path) == {**state, "dirty": True}


def test_a_machine_without_git_is_fine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_provenance_names_versions_and_code(tmp_path, user_module):
    name = user_module(
        "def Model(**kwargs): ...\ndef Data(): ...\ndef loss(): ...\ndef sgd(): ...\n"
    )
    study = small_study(
        {
            "model.target": f"{name}:Model",
            "dataset.target": f"{name}:Data",
            "loss": f"{name}:loss",
            "train.optimizer": f"{name}:sgd",
        }
    )
    plan = make_plan(study, measures(study), dataset_meta())
    job, *_ = plan_jobs(
        plan, study, data_folder=str(tmp_path), search_folder=str(tmp_path)
    ).values()
    code = code_after_a_step(job, code_at_start(job))
    attempts = Attempts(start="2024-01-02T03:04:05Z", place=["cpu", 1], code=code)
    found = collect_provenance(str(tmp_path), attempts, content="0123456789ab")
    parts = ("model", "dataset", "loss", "optimizer")
    assert list(found.source) == list(parts)
    assert len(set(found.source.values())) == len(parts)
    assert all(re.fullmatch("2-[0-9a-f]{12}", one) for one in found.source.values())
    file = file_fingerprint(f"{name}:loss", tmp_path, "loss")
    assert re.fullmatch("[0-9a-f]{12}", file)
    assert found.file_source == dict.fromkeys(parts, file)
    assert re.fullmatch("[0-9a-f]{12}", found.trainer)
    assert (found.packages, found.imported) == ({}, [])
    assert found.content_fingerprint == "0123456789ab"
    assert found.start == "2024-01-02T03:04:05Z"
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert (found.torch, found.flops_fit) == (torch.__version__, flops_fit.__version__)
    built_in = replace(job.spec, optimizer=OptimizerSpec(target="adamw", version=1))
    adamw = code_at_start(replace(job, spec=built_in)).fingerprints
    assert set(adamw) == {"model", "dataset", "loss"}


@pytest.fixture
def far_away(monkeypatch):
    """A clock half a day ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "<+12>-12")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_away")
def test_the_time_is_utc_to_the_second():
    before = datetime.now(UTC).replace(microsecond=0)
    read = datetime.strptime(now(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert before <= read <= datetime.now(UTC) + timedelta(seconds=1)


def test_the_version_is_that_of_the_project():
    project = Path(flops_fit.__file__).resolve().parents[2] / "pyproject.toml"
    stated = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
    assert flops_fit.__version__ == stated


# Progress ----------------------------------------------------------------------------------------


@pytest.fixture
def quiet_log():
    """The trainer's logger as a fresh process has it."""
    log = progress.LOG
    before = (log.level, log.propagate, list(log.handlers))
    log.handlers.clear()
    yield log
    for handler in log.handlers:
        handler.close()
    log.setLevel(before[0])
    log.propagate, log.handlers[:] = before[1], before[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_lines_go_to_the_log_and_to_standard_error(
    tmp_path, monkeypatch, quiet_log
):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0)
    log = tmp_path / "logs" / "a.log"
    progress.open_log(log, 0)
    with progress.Progress("width=4", 100, 8, "token", active=True) as bar:
        assert bar.due()
        bar.show(25, 1.23456)
    (line,) = sys.stderr.getvalue().splitlines()
    assert re.fullmatch(r"width=4: step 25 of 100, loss 1\.2346, \S+ tokens/s", line)
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d {re.escape(line)}\n", log.read_text(encoding="utf-8")
    )


def test_on_a_terminal_a_bar_counts_units(tmp_path, monkeypatch, quiet_log):
    monkeypatch.setattr(sys, "stderr", Terminal())
    log = tmp_path / "a.log"
    progress.open_log(log, 0)
    with progress.Progress("width=4", 100, 8, "token", active=True) as bar:
        bar.show(25, 1.5)
        bar.show(75, 0.5)
        assert (bar.bar.n, bar.bar.total) == (600, 800)
        assert bar.bar.postfix == "loss 0.5000"
    assert log.read_text() == ""  # nothing that would break the bar
    quiet_log.warning("loss is nan")
    assert "loss is nan" in log.read_text()
    assert "loss is nan" in sys.stderr.getvalue()


def test_other_processes_say_warnings_alone(tmp_path, monkeypatch, quiet_log):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0)
    log = tmp_path / "a.log"
    progress.open_log(log, 2)
    with progress.Progress("width=4", 100, 8, "token", active=False) as bar:
        assert not bar.due()
        assert bar.bar is None
    quiet_log.info("not this")
    quiet_log.error("but this")
    assert sys.stderr.getvalue() == "[process 2] but this\n"
    assert log.read_text().endswith(" [process 2] but this\n")
    assert log.read_text().count("\n") == 1


def test_nothing_is_due_at_once(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not progress.Progress("a", 1, 1, "token", active=True).due()
