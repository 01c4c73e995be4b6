"""Timing of a training, for the speeds in its record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds of training, for the speeds in the record.

    Only steps that count are timed, over all attempts: the work of a killed attempt since its last
    checkpoint is in neither the seconds nor the units. Saving is timed separately.
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
