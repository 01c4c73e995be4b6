"""The files of ``simulated/``. Each says SIMULATED, so that none passes for a result."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flops_fit.design.outcome import Interval, Outcome
from flops_fit.design.score import Errors
from flops_fit.design.trial import Trial
from flops_fit.laws.forms.surface import Surface

MARK = "SIMULATED"

_COLUMNS = ("spend", "study", "spent", "experiments", "rounds", "check_failed", "refused")
_QUANTITIES = ("N_opt", "L_opt")
_SOURCES = ("answer", "exact")


def studies_csv(trials: Sequence[Trial]) -> str:
    """Return a row for each simulated study.

    After what it spent come N_opt and L_opt at the target with their intervals, first as the answer
    gives them, then of the surface ("exact": if its form is); parameters and nats per unit.
    """
    names = [f"{MARK}_{name}" for name in _COLUMNS]
    for source in _SOURCES:
        for quantity in _QUANTITIES:
            names += [f"{MARK}_{source}_{quantity}{end}" for end in ("", "_lo", "_hi")]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(names)
    for trial in trials:
        for one in trial.studies:
            spend = "" if trial.spend is None else repr(trial.spend)
            row = [spend, one.number, repr(one.spent), one.experiments, one.rounds, one.filled]
            row.append(one.refusal is not None)
            for outcome in (one.answer, one.exact):
                for interval in (outcome and outcome.N, outcome and outcome.L):
                    row += _values(interval)
            writer.writerow(row)
    return lines.getvalue()


def _values(interval: Interval | None) -> list[str]:
    if interval is None:
        return ["", "", ""]
    return [f"{np.exp(v):.6g}" for v in (interval.middle, interval.low, interval.high)]


def summary_json(study: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the content of ``summary.json``: what was simulated, and what came of each trial."""
    return {
        MARK: True,
        "study": study,
        "target": trials[0].sweep.target,
        "trials": [_trial_json(trial) for trial in trials],
    }


def _trial_json(trial: Trial) -> dict[str, Any]:
    score, foreseen = trial.score, trial.foreseen
    return {
        MARK: True,
        "spend": trial.spend,
        "studies": score.studies,
        "truth": {
            "name": trial.truth.name,
            "source": trial.truth.source,
            "noise": trial.truth.noise,
            **_parameters(trial.truth.surface),
            "N_opt": float(np.exp(score.log_N)),
            "L_opt": float(np.exp(score.log_L)),
        },
        "spent": score.spent,
        "experiments": score.experiments,
        "rounds": score.rounds,
        "check_failed": score.filled,
        "refused": score.refused,
        "refusal": score.refusal,
        "answer": _errors_json(score.answer),
        "if_form_is_exact": _errors_json(score.exact),
        "foreseen": {
            "answer": _halves(foreseen and foreseen.misfit),
            "if_form_is_exact": _halves(foreseen and foreseen.exact),
        },
    }


def _parameters(surface: Surface) -> dict[str, float]:
    return {name: getattr(surface, name) for name in ("E", "A", "B", "alpha", "beta")}


def _errors_json(pair: tuple[Errors | None, Errors | None]) -> dict[str, Any]:
    return {
        f"log {name}": None if errors is None else asdict(errors)
        for name, errors in zip(_QUANTITIES, pair, strict=True)
    }


def _halves(outcome: Outcome | None) -> dict[str, float | None] | None:
    if outcome is None:
        return None
    found = zip(_QUANTITIES, (outcome.N, outcome.L), strict=True)
    return {f"log {name}": None if item is None else item.half for name, item in found}


def summary_text(study: str, trials: Sequence[Trial]) -> str:
    """Return ``summary.md``: a table with a row for each spend, and what it means."""
    first = trials[0]
    truth, score = first.truth, first.score
    surface = _parameters(truth.surface)
    law = ", ".join(f"{name} = {value:.4g}" for name, value in surface.items())
    lines = [
        f"# {MARK}: {study}",
        "",
        f"{MARK}: nothing was trained. {score.studies} studies were planned and fitted for each "
        f"row, their losses drawn from {truth.name} ({truth.source}): {law}, with a noise of "
        f"{truth.noise:.2%} from run to run. At {first.sweep.target:.4g} FLOPs its optimum is "
        f"N_opt = {np.exp(score.log_N):.4g}, L_opt = {np.exp(score.log_L):.4g}.",
        "",
        "The answer, whose 95% intervals hold the misfit that published sweeps show:",
        "",
        *_table(trials, "answer"),
        "",
        "The surface E + A/N^alpha + B/D^beta through the same runs, as sure as this only if its "
        "form is exact:",
        "",
        *_table(trials, "exact"),
        "",
        "Known to: half of the 95% interval, median over the studies. Error: root mean square. "
        "Held: share of the intervals with the truth in them. Foreseen: what `snakemake plan` "
        "says before anything is trained.",
    ]
    if any(trial.score.filled for trial in trials):
        shares = ", ".join(f"{trial.score.filled:.0%}" for trial in trials)
        lines += ["", f"{MARK}: a check failed in {shares} of the studies, by chance alone."]
    if any(_untold(trial) for trial in trials):
        shares = ", ".join(f"{_untold(trial):.0%}" for trial in trials)
        lines += ["", f"{MARK}: in {shares} of the studies the runs do not tell the surface."]
    for trial in trials:
        if trial.score.refusal:
            lines += ["", _refused(trial)]
    return "\n".join(lines) + "\n"


def _untold(trial: Trial) -> float:
    """Return the share of the studies without a surface, which count in none of its errors."""
    return sum(one.exact is None for one in trial.studies) / len(trial.studies)


def _refused(trial: Trial) -> str:
    spend = "" if trial.spend is None else f" that may spend {trial.spend:.3g} FLOPs"
    return (
        f"{MARK}: {trial.score.refused:.0%} of the studies{spend} ended before their last round, "
        f"and count as they are; the first because {trial.score.refusal}."
    )


def _table(trials: Sequence[Trial], source: str) -> list[str]:
    lines = [
        f"| {MARK} FLOPs | may spend | experiments | rounds | N_opt known to | foreseen | error "
        "| held | L_opt known to | foreseen | error | held |",
        "|" + "---|" * 12,
    ]
    for trial in trials:
        score = trial.score
        of_N, of_L = getattr(score, source)
        whole = trial.foreseen
        foreseen = whole and (whole.exact if source == "exact" else whole.misfit)
        cells = [f"{score.spent:.3g}", "" if trial.spend is None else f"{trial.spend:.3g}"]
        cells += [f"{score.experiments:g}", f"{score.rounds:g}"]
        cells += _cells(of_N, foreseen and foreseen.N, lambda half: f"x{np.exp(half):.3g}")
        cells += _cells(of_L, foreseen and foreseen.L, lambda half: f"{half:.2%}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cells(errors: Errors | None, foreseen: Interval | None, spelled: Any) -> list[str]:
    before = "" if foreseen is None else spelled(foreseen.half)
    if errors is None:
        return ["", before, "", ""]
    return [spelled(errors.half), before, spelled(errors.rms), f"{errors.covered:.0%}"]
