"""The backtest of fit.json as typed objects for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One quantity at a hidden budget: N_opt in parameters, or L_opt in the unit of the loss."""

    predicted: float
    interval: tuple[float, float]
    found: float
    found_std_err: float
    """Of the natural logarithm of N_opt; of L_opt in the unit of the loss."""
    covered: bool

    @classmethod
    def from_json(cls, check: Mapping[str, Any]) -> Check:
        """Read `N_opt` or `L_opt` of a row."""
        low, high = check["ci"]
        return cls(
            predicted=check["predicted"],
            interval=(low, high),
            found=check["found"],
            found_std_err=check["found_std_err"],
            covered=check["covered"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRow:
    """The prediction of one hidden budget."""

    hidden: int
    C: float
    times: float
    """C over the largest C that was kept."""
    N_opt: Check
    L_opt: Check | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """All predictions of hidden budgets; without rows, the text says why there are none."""

    rows: tuple[BacktestRow, ...]
    text: str

    @classmethod
    def from_json(cls, test: Mapping[str, Any]) -> Backtest:
        """Read `backtest` of fit.json."""
        rows = [
            BacktestRow(
                hidden=row["hidden"],
                C=row["C"],
                times=row["times"],
                N_opt=Check.from_json(row["N_opt"]),
                L_opt=row["L_opt"] and Check.from_json(row["L_opt"]),
            )
            for row in test["rows"]
        ]
        return cls(rows=tuple(rows), text=test["text"])
