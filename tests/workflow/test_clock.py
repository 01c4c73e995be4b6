"""A clock that jumps, back and forth by days, trains nothing again and changes no number."""

from __future__ import annotations

import os
import random
import time

from checkout import Checkout, jobs_of

DAY = 86_400.0

# Python imports this before anything else: each look at the clock finds another day, and leaves the
# name of the program that looked.
JUMPING_CLOCK = """
import pathlib
import random
import sys
import time

steady = time.time


def leap():
    pathlib.Path(__file__).with_name(pathlib.Path(sys.argv[0]).name + ".leapt").touch()
    return steady() + random.uniform(-3, 3) * 86400


time.time = leap
"""


def scatter_times(checkout: Checkout, rng: random.Random) -> None:
    for path in sorted(checkout.path.glob("results/**/*")):
        stamp = time.time() + rng.uniform(-3, 3) * DAY
        os.utime(path, (stamp, stamp))


def test_files_of_the_past_and_of_the_future_train_nothing_again(finished):
    expected = (finished.study / "runs.csv").read_bytes()
    table = (finished.study / "table.csv").read_bytes()
    rng = random.Random(3)
    for _ in range(2):
        scatter_times(finished, rng)
        assert jobs_of(finished.succeed("--cores", "2")) == 0
        assert (finished.study / "runs.csv").read_bytes() == expected
        assert (finished.study / "table.csv").read_bytes() == table


def test_trainings_under_a_jumping_clock(finished):
    expected = (finished.study / "runs.csv").read_bytes()
    hook = finished.path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(JUMPING_CLOCK)
    for path in sorted((finished.study / "runs").glob("*.json"))[:2]:
        path.unlink()
    finished.variables["PYTHONPATH"] = str(hook)
    assert jobs_of(finished.succeed("runs", "--cores", "2")) == 2
    del finished.variables["PYTHONPATH"]
    assert jobs_of(finished.succeed("--cores", "2")) == 0
    assert (finished.study / "runs.csv").read_bytes() == expected
    leapt = {path.stem for path in hook.glob("*.leapt")}
    assert {"snakemake", "train.py"} <= leapt
    for timings in (record["throughput"] for record in finished.records().values()):
        for name in ("train_seconds", "startup_seconds", "eval_seconds", "checkpoint_seconds"):
            assert 0 <= timings[name] < 600
