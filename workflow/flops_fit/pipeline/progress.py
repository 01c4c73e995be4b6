"""Progress bars on a terminal: for the resamples of a fit, and for simulated studies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from flops_fit.design.simulation import Progress as StudyProgress
from flops_fit.laws.fit import Progress


@contextmanager
def resampling_bar() -> Iterator[Progress]:
    """Yield a callback for `fit_runs` that draws on a terminal and is silent elsewhere."""
    bar = tqdm(disable=None, unit="chunk", leave=False)

    def show(name: str, done: int, of: int) -> None:
        bar.set_description(f"resampling, approach {name}")
        bar.total, bar.n = of, done
        bar.refresh()

    try:
        yield show
    finally:
        bar.close()


@contextmanager
def simulation_bar() -> Iterator[StudyProgress]:
    """Yield a callback for simulations that draws on a terminal and is silent elsewhere."""
    bar = tqdm(disable=None, unit="study", leave=False, desc="SIMULATED studies")

    def show(done: int, of: int) -> None:
        bar.total, bar.n = of, done
        bar.refresh()

    try:
        yield show
    finally:
        bar.close()
