"""Seconds of training that count for what the record says about speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds of training that count for what the record says about speed.

    They are those of the steps that count, over all attempts: a killed attempt's work since its
    last checkpoint is in neither the seconds nor the units. Saving is timed by itself.
    """

    def __init__(self) -> None:
        self.training = 0.0
        self.saving = 0.0
        self._begun: float | None = None

    def start(self) -> None:
        """Go on counting seconds of training."""
        self._begun = time.monotonic()

    def stop(self) -> None:
        """Stop counting seconds of training."""
        self.training += time.monotonic() - self._begun
        self._begun = None

    @contextmanager
    def timing_a_save(self) -> Iterator[None]:
        """Count the seconds of the block as saving."""
        running = self._begun is not None
        if running:
            self.stop()
        begun = time.monotonic()
        try:
            yield
        finally:
            self.saving += time.monotonic() - begun
            if running:
                self.start()
