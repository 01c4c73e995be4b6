"""How long is waited for what may be mended meanwhile: seconds in environment variables."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from flops_fit.errors import UserError

_SECONDS_BETWEEN_TRIES = 1.0


def seconds_from(environment: Mapping[str, str], name: str, default: float) -> float:
    """Return the seconds that a variable holds, or the default where it is unset or empty.

    Raises
    ------
    UserError
        If it is no number of seconds.
    """
    text = environment.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{name}: found {text!r:.80}, expected a number of seconds, such as 600")
    return seconds


def write_patiently(
    write: Callable[[], None], what: str, patience: float, complain: Callable[[str], None]
) -> None:
    """Call ``write`` until it does not raise an OSError, for so many seconds.

    A training may have taken days, and a disk that is full be mended.

    Parameters
    ----------
    what
        Its name in the sentence that ``complain`` is told once.

    Raises
    ------
    OSError
        Of the last try.
    """
    deadline = time.monotonic() + patience
    complained = False
    while True:
        try:
            write()
        except OSError as error:
            if time.monotonic() >= deadline:
                raise
            if not complained:
                complain(
                    f"{what} cannot be written ({error}); it is tried again for {patience:g} s"
                )
                complained = True
            time.sleep(_SECONDS_BETWEEN_TRIES)
        else:
            return
