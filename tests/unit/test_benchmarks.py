"""The benchmarks run, on as little as they can; what they print as times is nobody's promise."""

from __future__ import annotations

import re
import subprocess
import sys

from checkout import ROOT, environment


def printed(script: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *options], text=True, check=False,
        env=environment() | {"PYTHONPATH": str(ROOT / "workflow")}, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_data_parallelism_is_measured_and_changes_no_loss():
    output = printed("data_parallel.py", "--size=8", "--steps=20", "--batch=512", "--repeats=1")
    for layout in ("1 x 1 threads", "1 x 2 threads", "2 x 1 threads"):
        assert re.search(rf"^{layout} on cpu: \S+ tokens/s$", output, re.MULTILINE), output
    assert re.search(r"^2 x 1 threads / 1 x 2 threads: \d", output, re.MULTILINE)
    assert re.search(r"^scaling efficiency [\d.]+%", output, re.MULTILINE)
    (difference,) = re.findall(r"relative difference of the losses (\S+)", output)
    assert float(difference) < 2e-3


def test_the_trainers_loop_is_measured_beside_a_bare_one_that_reaches_the_same_loss():
    output = printed("training_loop.py", "--steps=20", "--rounds=1")
    assert re.search(r"^throughput, trainer / bare loop: \d", output, re.MULTILINE), output
    (difference,) = re.findall(r"difference of the validation losses: (\S+) nats", output)
    assert float(difference) < 1e-6
