"""A bar for the resamples of a fit, where a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from flops_fit.laws.fit import Progress


@contextmanager
def resampling_bar() -> Iterator[Progress]:
    """Yield the callback that `fit_runs` takes; it draws on a terminal and is silent elsewhere."""
    bar = tqdm(disable=None, unit="chunk", leave=False)

    def show(name: str, done: int, of: int) -> None:
        bar.set_description(f"resampling, approach {name}")
        bar.total, bar.n = of, done
        bar.refresh()

    try:
        yield show
    finally:
        bar.close()
