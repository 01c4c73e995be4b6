"""What experiments train on, by name. Imports no torch."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

from flops_fit.launch.gpus import names_of, visible_gpus

CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """GPUs of a type, wherever they are, or the cores of one host."""

    name: str  # as records spell it
    host: str | None = None  # of a CPU, whose type records do not tell
    count: int = field(default=1, compare=False)  # GPUs that may be used

    @classmethod
    def here(cls) -> Device:
        """Return what this process would train an experiment on."""
        gpus = visible_gpus(os.environ)
        names = names_of(gpus) if gpus else []
        if names:
            return cls(name=names[0], count=len(gpus))
        return cls(name=CPU, host=socket.gethostname())

    @classmethod
    def of_record(cls, name: str, hosts: tuple[str, ...]) -> Device:
        """Return what an experiment was trained on."""
        alone = hosts[0] if name == CPU and len(hosts) == 1 else None
        return cls(name=name, host=alone)

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.name != CPU

    def __str__(self) -> str:
        return self.name if self.is_gpu else f"the CPU of {self.host or 'several hosts'}"
