"""Which approaches a fit holds, what they are called, and which were left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TITLES = {
    "1": "approach 1: training-curve envelope",
    "2": "approach 2: IsoFLOP profiles",
    "3": "approach 3: parametric surface",
    "vpnls": "VPNLS: parametric surface",
}


def short_title(name: str) -> str:
    """Name of an approach as it reads inside a sentence, for example "approach 2"."""
    return TITLES[name].partition(":")[0]


def title(name: str) -> str:
    """Name of an approach and what it does, for example "approach 2: IsoFLOP profiles"."""
    return TITLES[name]


def recommended_name(fit: Mapping[str, Any]) -> str | None:
    """The approach that the fit recommends; None where it recommends none."""
    recommended = fit["recommended"]
    return None if recommended is None else recommended["approach"]


def exponent_interval(law: Mapping[str, Any]) -> list[float] | None:
    """The interval of a law's exponent; None where the fit computed none."""
    return law["ci"] and law["ci"]["exponent"]


def fitted_approaches(fit: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The approaches whose status is `ok`: the recommended one, then the order of `fit.json`."""
    fitted = {name: entry for name, entry in fit["approaches"].items() if entry["status"] == "ok"}
    name = recommended_name(fit)
    return {name: fitted[name], **fitted} if name in fitted else fitted


def left_out(fit: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The approaches without laws, as (name, status, reason).

    The reason is the entry's `reason`, or what follows the colon of its `status`; it is empty
    where the fit gives none.
    """
    found = []
    for name, entry in fit["approaches"].items():
        if entry["status"] == "ok":
            continue
        status, _, reason = entry["status"].partition(":")
        found.append((name, status.strip(), (entry.get("reason") or reason).strip()))
    return found
