"""What a plan would tell, as the paragraph that ``snakemake plan`` shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flops_fit.design.forecast import Forecast
from flops_fit.design.outcome import LEVEL, Interval, Outcome

_WIDTHS = (46, 22, 0)
_HEADER = ("", "if the form is exact", "with the misfit that published sweeps show")


def forecast_text(foreseen: Forecast, law: str, others: Mapping[str, Forecast | str]) -> str:
    """Return the paragraph.

    Parameters
    ----------
    foreseen : Forecast
    law : str
        What is expected, for a sentence.
    others : mapping of str to Forecast or str
        The same for other spends, by what these are called, or why there is none.
    """
    lines = [
        f"What it would tell at {foreseen.target:.4g} FLOPs, with {LEVEL:.0%} intervals, under the "
        f"law of {law} with a noise of {foreseen.noise:.1%} of the loss:",
        "",
        _row(*_HEADER),
        _row("N_opt, to within a factor of", *_both(foreseen, "N")),
        _row("L_opt, to within", *_both(foreseen, "L")),
    ]
    for name, other in others.items():
        if isinstance(other, str):
            lines.append(f"  {name}: {other}")
        else:
            lines.append(_row(f"{name}: N_opt", *_both(other, "N")))
    if foreseen.misfit is None:
        lines += [
            "",
            "So few budgets, or sizes so far off the optimum, would give no answer there.",
        ]
    return "\n".join(lines) + "\n"


def rounds_text(foreseen: Forecast) -> str:
    """Return the rounds to come as lines, as far as they can be foreseen."""
    to_come = [item for item in foreseen.rounds if not item.given]
    if not to_come:
        return ""
    lines = ["Rounds to come, as far as they can be foreseen:", ""]
    lines += [
        f"  {item.kind:<13}  {item.experiments:>4} experiments  {item.spent:>9.3g} FLOPs"
        for item in to_come
    ]
    whole = f"{foreseen.experiments:>4} experiments  {foreseen.spent:>9.3g} FLOPs"
    return "\n".join([*lines, f"  {'in all':<13}  {whole}", "", ""])


def _both(foreseen: Forecast, quantity: str) -> tuple[str, str]:
    return tuple(_shown(found, quantity) for found in (foreseen.exact, foreseen.misfit))


def _shown(outcome: Outcome | None, quantity: str) -> str:
    found: Interval | None = getattr(outcome, quantity, None)
    if found is None:
        return "no answer" if outcome is None else "no law"
    if quantity == "L":
        return f"{np.expm1(found.half):.1%}"
    factor = np.exp(found.half)
    return f"{factor:.2f}" if factor < 100 else f"{factor:.2g}"


def _row(*texts: str) -> str:
    cells = [text.ljust(width) for text, width in zip(texts, _WIDTHS, strict=True)]
    return ("  " + "".join(cells)).rstrip()
