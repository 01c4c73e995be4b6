"""A full disk, a read-only folder, a limit on open files: sentences, and a rerun completes all."""

from __future__ import annotations

import subprocess

from checkout import environment
from fault_campaign import fresh_copy

# In a mount namespace of its own the results lie on a small file system. Where a machine allows no
# such namespace, the sizes of files are limited, and the folder's permissions taken away.
SCARCE = """
run() {
    snakemake --cores 2 --keep-going --configfile config/studies/tiny.yaml > $1.log 2>&1
    echo $? > $1.status
}

mkdir small
if mount -t tmpfs -o size=16m tmpfs small 2> mount.log; then
    cp -a results/. small/ && mount --bind small results || exit 3
    dd if=/dev/zero of=results/filler bs=1k 2> dd.log
    truncate -s -8K results/filler
    run disk
    rm results/filler
    mount -o remount,ro,bind results
    run read_only
    mount -o remount,rw,bind results
else
    (trap '' XFSZ; ulimit -f 8; run disk)
    chmod -R a-w results
    run read_only
    chmod -R u+w results
fi
(ulimit -n 12; run files)
run last
cp results/tiny/runs.csv .
"""


def test_what_a_machine_lacks_costs_no_result(undisturbed, tmp_path):
    planned, expected = undisturbed
    path = fresh_copy(planned, tmp_path / "copy").path
    command = ["sh", "-c", SCARCE]
    own = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*own, "true"], check=False, capture_output=True).returncode == 0:
        command = [*own, *command]
    subprocess.run(
        command, cwd=path, env=environment() | {"FLOPS_FIT_RECORD_PATIENCE": "1"}, check=True,
        timeout=800, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip

    def said(name: str) -> str:
        return (path / f"{name}.log").read_text()

    def status(name: str) -> int:
        return int((path / f"{name}.status").read_text())

    assert status("disk") != 0
    assert "No space left on device" in said("disk") or "File too large" in said("disk")
    assert "run snakemake again once that is mended" in said("disk")
    assert "Traceback" not in said("disk")
    assert status("read_only") != 0
    sentence = (
        "results/tiny: cannot be written (read-only); expected a results folder that this user may "
        "write to"
    )
    assert sentence in said("read_only")
    assert "Traceback" not in said("read_only")
    assert status("files") != 0
    assert "Too many open files" in said("files")
    assert status("last") == 0, said("last")
    assert (path / "runs.csv").read_bytes() == expected
