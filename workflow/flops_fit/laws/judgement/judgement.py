"""A judgement: what a statistician would say about a fit, as data and as a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from flops_fit.laws.judgement.texts import KINDS, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One finding about a fit; `judge` makes it.

    Code decides by `code` and `values`. `text` is for people: nothing may read it.
    """

    code: str
    """Among `texts.KINDS`."""
    severity: Severity
    approach: str | None
    """Name of the approach that it concerns; None where it concerns the runs or several."""
    values: Mapping[str, Any]
    """The numbers and lists behind the text, by name; plain Python values that JSON can hold."""
    text: str

    def of(self, approach: str) -> Judgement:
        """Return the same judgement, said of an approach."""
        return replace(self, approach=approach)

    def to_json(self) -> dict[str, Any]:
        """Return an entry of `judgements` in fit.json."""
        return asdict(self)


def judge(code: str, **values: Any) -> Judgement:
    """Make the judgement `code` from its values; numpy's numbers and arrays become Python's.

    The text is made from all of them; of the values kept, those that JSON cannot hold are None.

    Raises
    ------
    KeyError
        If there is no such code, or its text needs a value that is not given.
    """
    kind = KINDS[code]
    plain = {name: _plain(value) for name, value in values.items()}
    return Judgement(
        code=code,
        severity=kind.severity,
        approach=None,
        values=_finite(plain),
        text=kind.render(plain),
    )


def add_judgements(
    fit: dict[str, Any], judgements: Iterable[Judgement], *, first: bool = False
) -> None:
    """Write judgements into the content of fit.json, and their texts into the lists `warnings`.

    Parameters
    ----------
    fit : dict
        With `approaches`; an approach's own list gets what is said of it, the general one the rest.
    first : bool
        Whether they stand before those that are there already.
    """
    judgements = list(judgements)
    known = fit.setdefault("judgements", [])
    lists = {None: fit.setdefault("warnings", [])}
    lists |= {name: entry["warnings"] for name, entry in fit["approaches"].items()}
    at = 0 if first else len(known)
    known[at:at] = [judgement.to_json() for judgement in judgements]
    for name, texts in lists.items():
        at = 0 if first else len(texts)
        texts[at:at] = [item.text for item in judgements if item.approach == name]


def has(judgements: Iterable[Judgement], *codes: str) -> bool:
    """Say whether any of the codes is among the judgements."""
    return any(judgement.code in codes for judgement in judgements)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
