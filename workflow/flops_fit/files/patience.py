"""Retrying what may be fixed in the meantime, for as long as an environment variable says."""

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
        If it is not a number of seconds.
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
    """Call ``write`` until it raises no OSError, for up to ``patience`` seconds.

    A training may have taken days, and a full disk can be cleared.

    Parameters
    ----------
    what
        The name of the file's content in the sentence that ``complain`` gets once.

    Raises
    ------
    OSError
        From the last try.
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
                complain(f"{what} cannot be written ({error}); retrying for {patience:g} s")
                complained = True
            time.sleep(_SECONDS_BETWEEN_TRIES)
        else:
            return
