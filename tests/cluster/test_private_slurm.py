"""The cluster of the tests is what it says, and is gone when the session is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import private_slurm
import psutil
import pytest
from private_slurm import GPUS_PER_NODE, NODES, demand_packages


def test_it_gives_jobs_gpus_of_their_own_and_keeps_no_accounts(cluster):
    everything = f"--gpus-per-node={GPUS_PER_NODE}"
    seen = cluster.ask(
        "srun", f"--nodes={len(NODES)}", "--ntasks-per-node=1", everything,
        "sh", "-c", "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES",
    )  # fmt: skip
    assert sorted(seen.splitlines()) == [f"{node} 0,1,2,3" for node in NODES]
    assert "accounting_storage/none" in cluster.ask("scontrol", "show", "config")


def test_no_process_outlives_a_session_that_is_killed(cluster, tmp_path):
    session = textwrap.dedent(
        """
        import os, signal, subprocess
        from private_slurm import private_slurm
        with private_slurm() as cluster:
            cluster.ask("sbatch", "--output=/dev/null", "--wrap", "sleep 1234567 & sleep 1234567")
            while not cluster.jobs("RUNNING"):
                pass
            print(cluster.folder, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    folder = os.path.dirname(private_slurm.__file__)
    done = subprocess.run(
        [sys.executable, "-c", session], env=os.environ | {"PYTHONPATH": folder}, cwd=tmp_path,
        stdout=subprocess.PIPE, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    state = done.stdout.strip()
    assert state
    # Its guardian is the last to go, and takes the folder along.
    left = [p for p in psutil.process_iter() if _belongs(p, state)]
    psutil.wait_procs(left, timeout=600)
    assert not [p for p in psutil.process_iter() if _belongs(p, state)]
    assert not os.path.exists(state)


def _belongs(process: psutil.Process, state: str) -> bool:
    """Whether a process is of the cluster whose folder is named, by its command or environment."""
    try:
        return any(state in word for word in process.cmdline()) or (
            process.environ().get("SLURM_CONF", "").startswith(state)
        )
    except psutil.Error:
        return False


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(private_slurm, "_PATH", os.path.dirname(sys.executable))
    with pytest.raises(pytest.fail.Exception) as failure:
        demand_packages()
    assert "sudo apt-get install --no-install-recommends munge slurmctld slurmd slurm-client" in (
        str(failure.value)
    )
