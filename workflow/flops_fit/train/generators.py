"""The random generators of a training process, kept across interruptions."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed


class Generators:
    """Decides which state of the generators a checkpoint saves, and when a saved one is put back.

    Parameters
    ----------
    device
        Where the model computes: a GPU has a generator of its own.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._saved: Mapping[str, Any] | None = None  # to be put back
        self._at_end: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint written now."""
        return self._at_end or random_state(self.device)

    def put_back_later(self, saved: Mapping[str, Any]) -> None:
        """Keep a saved state until `put_back`, as code before the next step may draw, too."""
        self._saved = saved

    def put_back(self) -> None:
        """Put the saved state back, if there is one."""
        if self._saved is not None:
            restore_random_state(self._saved, self.device)
            self._saved = None

    def end_training(self) -> None:
        """Fix the state to save from now on, so that a repeated evaluation draws the same."""
        self.put_back()  # in case no step was left to do so
        self._at_end = random_state(self.device)


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the states of all random generators that this process may draw from."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state = {
        "python": [version, torch.tensor(internal), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Put all random generators back to a state of :func:`random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def seed_afresh(seed: int, step: int, process: int) -> None:
    """Seed a process that resumes a training with a different number of processes.

    It must not continue any of the random streams used so far, since none of them is its own.
    """
    (mixed,) = np.random.SeedSequence((seed, step, process)).generate_state(1)
    set_seed(int(mixed) % 2**31)


def is_python_state(saved: Any) -> bool:
    """Return whether `restore_random_state` can put it back into Python's generator."""
    try:
        version, internal, gauss = saved
        random.Random().setstate((version, tuple(internal.tolist()), gauss))
    except Exception:  # whatever it is
        return False
    return version == random.Random.VERSION and _is_cached(gauss)


def is_numpy_state(saved: Any) -> bool:
    """Return whether `restore_random_state` can put it back into numpy's generator.

    numpy itself accepts positions outside of its state.
    """
    try:
        name, keys, position, has_gauss, cached = saved
        np.random.RandomState().set_state((name, keys.numpy(), position, has_gauss, cached))
        in_range = 0 <= int(keys.min()) and int(keys.max()) < 2**32
    except Exception:  # whatever it is
        return False
    return (
        in_range
        and keys.dtype == torch.int64
        and type(position) is int
        and 0 <= position <= len(keys)
        and type(has_gauss) is int
        and has_gauss in (0, 1)
        and cached is not None
        and _is_cached(cached)
    )


def is_torch_state(saved: Any) -> bool:
    """Return whether `restore_random_state` can put it back into torch's generator."""
    return _fits_generator(saved, torch.device("cpu"))


def is_cuda_state(saved: Any, device: torch.device) -> bool:
    """Return whether `restore_random_state` can put it back into the generator of a GPU."""
    return _fits_generator(saved, device)


def _fits_generator(saved: Any, device: torch.device) -> bool:
    try:
        torch.Generator(device).set_state(saved)
    except Exception:  # whatever it is
        return False
    return True


def _is_cached(number: Any) -> bool:
    """Whether a generator could keep it as the second of two normal numbers."""
    return number is None or (isinstance(number, float) and math.isfinite(number))
