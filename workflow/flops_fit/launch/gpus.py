"""The GPUs of this node, and what is known to run on them. Imports no torch."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flops_fit.errors import UserError
from flops_fit.launch.markers import marks
from flops_fit.launch.processes import described

NO_GPU = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES; the last one is SLURM's
# An idle GPU shows a few MiB (its driver's own), a process on it at least its CUDA context: 4 MiB,
# and 139 MiB with the context of an empty program (pytorch/vision issue 3068); 300 MB and more for
# PyTorch (pytorch/pytorch issue 20532).
_IDLE_MB = 100
# Without its persistence mode, the driver takes up to 3 s to initialise a GPU (NVIDIA, Driver
# Persistence, Overview), and nodes have 8 of them.
_SECONDS_TO_ANSWER = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """What is known to run on one GPU."""

    uuid: str
    index: str  # empty if the driver does not tell about it
    used_mb: int  # MiB
    has_display: bool
    processes: tuple[str, ...]  # those that compute, and launchers, described for a person

    @property
    def in_use(self) -> bool:
        """Whether something computes on it.

        The driver may list no process to a container with process numbers of its own
        (NVIDIA/nvidia-docker issue 179), but always shows the memory that is in use. On a GPU with
        a display, that may be the desktop's.
        """
        return bool(self.processes) or (self.used_mb > _IDLE_MB and not self.has_display)

    def __str__(self) -> str:
        users = ", ".join(self.processes) or (
            "a process that cannot be seen from here, of another container or user "
            f"({self.used_mb} MiB of the GPU's memory are in use)"
        )
        name = f"GPU {self.index} ({self.uuid})" if self.index else self.uuid
        return f"{name} is in use by {users}"


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Return the UUIDs of the GPUs that this process may use, in order.

    All GPUs of the node, or those that ``CUDA_VISIBLE_DEVICES`` names (by index in PCI order, or by
    UUID), as a batch system or a user has set it. None in a SLURM job without that variable: SLURM
    sets it when it allocates GPUs, and the node's other GPUs belong to other jobs.

    Raises
    ------
    UserError
        If the variable names a GPU that the node does not have, or one twice.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None and named.strip() in NO_GPU:
        return []
    if named is None and "SLURM_JOB_ID" in environment:
        return []
    present = _gpus_of_node()
    if named is None:
        return present
    chosen = []
    for name in (part.strip() for part in named.split(",")):
        if name.startswith("MIG-"):  # an instance is leased by its own name
            matches = [name]
        elif name.isdigit():
            matches = present[int(name) : int(name) + 1]
        else:
            matches = [uuid for uuid in present if name and uuid.startswith(name)]
        if len(matches) != 1 or matches[0] in chosen:
            raise UserError(
                f"CUDA_VISIBLE_DEVICES: found {name!r} in {named!r}, expected indices or UUIDs of "
                f"the {len(present)} GPUs of this node, each once"
            )
        chosen += matches
    return chosen


def names_of(gpus: Sequence[str]) -> list[str]:
    """Return the names of the types of these GPUs, as torch calls them, each once."""
    rows = _ask("--query-gpu=uuid,name", 2, _SECONDS_TO_ANSWER)
    return sorted({name for uuid, name in rows if uuid in gpus})


def states_of(gpus: Sequence[str]) -> list[GpuState]:
    """Return what runs on each of these GPUs according to the driver and the marks of launchers.

    The driver does not tell about parts of a GPU (MIG), nor about any, if it fails or does not
    answer in time.
    """
    rows = _ask("--query-gpu=uuid,index,memory.used,display_active", 4, _SECONDS_TO_ANSWER)
    known = {uuid: row for uuid, *row in rows}
    computing = _processes()
    launching = marks()  # last, so that there is little time for another one until ours is set
    states = []
    for uuid in gpus:
        index, used, display = known.get(uuid, ("", "", ""))
        states.append(
            GpuState(
                uuid=uuid,
                index=index,
                used_mb=int(used) if used.isdigit() else 0,
                has_display=display == "Enabled",
                processes=(*computing.get(uuid, ()), *launching.get(uuid, ())),
            )
        )
    return states


def _processes() -> dict[str, list[str]]:
    """Return the processes that compute on each GPU, described for a person."""
    asked = "--query-compute-apps=gpu_uuid,pid,used_memory,process_name"
    found: dict[str, list[str]] = {}
    for uuid, pid, used, name in _ask(asked, 4, _SECONDS_TO_ANSWER):
        details = [f"{used} MiB"] if used.isdigit() else []
        if pid.isdigit():  # a name in brackets says why there is none: [Not Found]
            known = "a process" if name.startswith("[") else name
            found.setdefault(uuid, []).append(described(int(pid), known, *details))
    return found


def _gpus_of_node() -> list[str]:
    """Return the UUIDs of the NVIDIA GPUs that this process can see, in PCI order."""
    return [uuid for (uuid,) in _ask("--query-gpu=uuid", columns=1) if uuid.startswith("GPU-")]


def _ask(question: str, columns: int, patience: float | None = None) -> list[list[str]]:
    """Return the rows that nvidia-smi prints; the last column may contain commas."""
    try:
        done = subprocess.run(
            ["nvidia-smi", question, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, errors="replace", check=True, timeout=patience,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(",", columns - 1) for line in done.stdout.splitlines()]
    return [[field.strip() for field in row] for row in rows if len(row) == columns]
