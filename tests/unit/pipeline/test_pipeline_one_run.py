"""One run of a study at a time; a killed one stands in nobody's way."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from checkout import ROOT
from flops_fit.errors import UserError
from flops_fit.pipeline.one_run import explain_refusals, hold_study, refusal

HOLD = """
import sys
from flops_fit.pipeline.one_run import hold_study
hold_study("tiny", sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_run(tmp_path):
    """Another process, which holds the study."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env={"PYTHONPATH": str(ROOT / "workflow")},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_study_is_held_by_one_run_until_that_is_killed(tmp_path, other_run):
    with pytest.raises(UserError, match=r"^tiny: another snakemake runs this study; wait until"):
        hold_study("tiny", tmp_path)
    assert "--unlock is not needed" in refusal("tiny", tmp_path)
    other_run.kill()
    other_run.wait()
    assert "type the same command with --unlock once" in refusal("tiny", tmp_path)
    hold_study("tiny", tmp_path)


def test_the_sentence_follows_snakemakes_once_and_no_other_error(tmp_path, capsys):
    logger = logging.getLogger("test_one_run")
    for _ in range(2):
        explain_refusals(logger, "tiny", tmp_path)
    logger.error("no lock", extra={"exception": "WorkflowError"})
    assert "tiny" not in capsys.readouterr().err
    logger.error("cannot be locked", extra={"exception": "LockException"})
    assert capsys.readouterr().err.count("tiny: ") == 1
