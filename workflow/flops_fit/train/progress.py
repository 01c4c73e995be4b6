"""Progress of a running experiment: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

LOG = logging.getLogger("flops_fit.train")
_SECONDS_BETWEEN_LINES = 15.0


def open_log(path: Path, process: int) -> None:
    """Send the log to ``path``, and to standard error unless a progress bar has the terminal.

    The trainer writes the file itself: a shell redirection would deprive the bar of its terminal.
    """
    name = "" if process == 0 else f"[process {process}] "
    LOG.setLevel(logging.INFO if process == 0 else logging.WARNING)
    LOG.propagate = False
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _LogFile(path, mode="a", encoding="utf-8")
    file.setFormatter(logging.Formatter(f"%(asctime)s {name}%(message)s", "%Y-%m-%d %H:%M:%S"))
    LOG.addHandler(file)
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    console.setFormatter(logging.Formatter(f"{name}%(message)s"))
    LOG.addHandler(console)


class _LogFile(logging.FileHandler):
    """A log file that silently drops lines when the disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class Progress:
    """Progress of the training steps; silent on all processes but the main one.

    Parameters
    ----------
    title
        Text at the start of the bar and of each line.
    steps
        Optimizer steps of the run.
    batch
        Units per step.
    unit
        Name of a unit in the singular.
    active
        False on all processes but the main one.
    done
        Steps of earlier attempts.
    """

    def __init__(
        self, title: str, steps: int, batch: int, unit: str, *, active: bool, done: int = 0
    ) -> None:
        self.title, self.steps, self.batch, self.unit = title, steps, batch, unit
        self.active = active
        self.start = self.last = self.last_line = time.monotonic()
        self.first_step = self.shown_step = done
        self.bar = None
        if active and sys.stderr.isatty():
            self.bar = tqdm(
                total=steps * batch,
                initial=done * batch,
                desc=title,
                unit=f" {unit}s",
                unit_scale=True,
                leave=False,
                dynamic_ncols=True,
                file=sys.stderr,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            try:
                self.bar.close()
            except OSError:
                self._drop_bar()

    def _drop_bar(self) -> None:
        """Go on without the bar, which would otherwise write again when garbage-collected."""
        self.bar.disable = True
        self.bar = None

    def due(self) -> bool:
        """Whether it is time to show something: reading a loss off a GPU is not free."""
        wait = 0.5 if self.bar is not None else _SECONDS_BETWEEN_LINES
        return self.active and time.monotonic() - self.last >= wait

    def show(self, step: int, loss: float) -> None:
        """Show the number of steps done and the training loss of the last one."""
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            try:
                self.bar.update((step - self.shown_step) * self.batch)
            except OSError:  # the terminal was closed
                self._drop_bar()
        if self.bar is None or now - self.last_line >= _SECONDS_BETWEEN_LINES:
            rate = (step - self.first_step) * self.batch / max(now - self.start, 1e-9)
            LOG.info(
                "%s: step %d of %d, loss %.4f, %.3g %ss/s",
                self.title, step, self.steps, loss, rate, self.unit,
            )  # fmt: skip
            self.last_line = now
        self.last, self.shown_step = now, step
