"""A full disk, a read-only folder, a limit on open files: sentences, and a rerun completes all."""

from __future__ import annotations

import subprocess

import pytest
from checkout import PARTS, ROOT, bring_records, copy_checkout, environment
from fault_campaign import fresh_copy
from mounts import MOUNT, needs_mounts

# The results lie on a small file system.
SCARCE = """
run() {
    state=0
    snakemake --cores 2 --keep-going --configfile config/studies/tiny.yaml > $1.log 2>&1 || state=$?
    echo $state > $1.status
}

set -e
mkdir small
mount -t tmpfs -o size=16m tmpfs small
cp -a results/. small/
mount --bind small results
dd if=/dev/zero of=results/filler bs=1k 2> dd.log || true
truncate -s -8K results/filler
run disk
rm results/filler
mount -o remount,ro,bind results
run read_only
mount -o remount,rw,bind results
(ulimit -n 12; run files)
run last
cp -a results/tiny survived
"""
# A disk that holds the whole checkout is full before anything starts, and after a first dry run.
FULL = """
set -e
mkdir small
mount -t tmpfs -o size=16m tmpfs small
cp -a Snakefile workflow profiles config envs small/
cd small
run() {
    snakemake $2 --cores 1 --configfile config/studies/tiny.yaml > ../$1.log 2>&1 || true
}
fill() {
    dd if=/dev/zero of=filler bs=1k 2> ../dd.log || true
}
fill
run first
rm filler
run dry -n
fill
run again
"""


@needs_mounts
@pytest.mark.timeout(2400)
def test_what_a_machine_lacks_costs_no_result(undisturbed, tmp_path):
    planned, whole = undisturbed
    copy = fresh_copy(planned, tmp_path / "copy")
    bring_records(whole, copy.study, but=3)
    path = copy.path
    subprocess.run(
        [*MOUNT, SCARCE], cwd=path, env=environment() | {"FLOPS_FIT_RECORD_PATIENCE": "1"},
        check=True, timeout=2000, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip

    def said(name: str) -> str:
        return (path / f"{name}.log").read_text()

    def status(name: str) -> int:
        return int((path / f"{name}.status").read_text())

    assert status("last") == 0, said("last")
    assert (path / "survived" / "runs.csv").read_bytes() == (whole.study / "runs.csv").read_bytes()
    assert status("disk") != 0
    assert "No space left on device" in said("disk")
    assert "run snakemake again once that is fixed" in said("disk")
    assert "Traceback" not in said("disk")
    assert status("read_only") != 0
    sentence = (
        "results/tiny: cannot be written (read-only); expected a results folder that this user may "
        "write to"
    )
    assert sentence in said("read_only")
    assert "Traceback" not in said("read_only")
    assert status("files") != 0
    assert "too many open files" in said("files").lower()  # Python's words, or torch's


@needs_mounts
def test_a_disk_that_is_full_before_the_start_is_one_sentence(tmp_path):
    path = copy_checkout(ROOT, tmp_path / "copy", PARTS).path
    subprocess.run(
        [*MOUNT, FULL], cwd=path, env=environment(), check=True, timeout=300,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert "train" in (path / "dry.log").read_text()
    for name in ("first", "again"):
        said = (path / f"{name}.log").read_text()
        assert said.count("cannot be written (No space left on device); free some space") == 1
        assert "Traceback" not in said
        assert "Logging error" not in said
