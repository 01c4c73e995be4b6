"""Tiny studies to train, and a process as fresh as one that a launcher starts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from cut_training import planned_cut, reset
from tiny_training import planned_tiny

__all__ = ["planned_cut", "planned_tiny"]


@pytest.fixture
def fresh_process() -> Iterator[None]:
    reset()
    with torch.random.fork_rng():
        yield
    reset()
