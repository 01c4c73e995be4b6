"""Do the answers survive? Published sweeps whose largest budgets are hidden, predicted, looked up.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow python benchmarks/backtest.py sweeps/*.csv

Each table is a CSV file with the columns N, D, C, loss, and optionally `budget`, and `done`, whose
runs that are not done are left out. From each, the largest 1, 2 and 3 budgets are hidden (without
budgets: strata of C), as long as 3 remain; the others are fitted as a study would be, and the
optima at the hidden budgets are compared with what was found there. Nominal coverage is 90%; the
standard error of what was found is added in quadrature to the half-width of an interval. Errors and
widths of N_opt are those of its logarithm, those of L_opt relative ones in percent. CRPS is the
continuous ranked probability score (lower is better) of the draws, blurred by the standard error of
what was found.

The methods: `answer` is what a study is told; `if exact` what it would be told if the form of the
law were beyond doubt; then approaches 1, 2, 3 and VPNLS by themselves. Predictions of one table are
not independent, so that the binomial errors are too small, if anything.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flops_fit.laws import read_runs
from flops_fit.laws.answer.law import OptimumLaw
from flops_fit.laws.backtest.found import Found
from flops_fit.laws.backtest.origins import MIN_KEPT, Origin, design_of, origins
from flops_fit.laws.fit import FitOptions, fit_laws
from flops_fit.laws.fitted import Fit
from tqdm import tqdm

LEVEL = 0.9
NORMAL = 1.645
"""Half-width of the central 90% of a normal distribution."""

N_BLUR = 4000
"""Draws behind a CRPS."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One prediction of one method, beside what was found."""

    table: str
    kind: str
    method: str
    hidden: int
    C: float
    times: float
    """C over the largest that was kept."""
    error_N: float
    ends_N: tuple[float, float]
    """Of the interval, as errors."""
    width_N: float
    covered_N: bool
    crps_N: float
    error_L: float | None = None
    ends_L: tuple[float, float] | None = None
    width_L: float | None = None
    covered_L: bool | None = None
    crps_L: float | None = None


def read_table(path: str | Path) -> dict[str, list[float]]:
    """Return the columns of a table that a fit reads, without runs that are not done."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("done", "") in ("", "True", "1")]
    names = [name for name in ("budget", "N", "D", "C", "loss") if name in rows[0]]
    rows = [row for row in rows if all(row[name] for name in names)]
    return {name: [float(row[name]) for row in rows] for name in names}


def backtest(
    name: str, columns: dict[str, list[float]], options: argparse.Namespace
) -> Iterable[list[Outcome]]:
    """Yield the outcomes of each origin of a table."""
    table, _ = read_runs(columns)
    if table.L.min() <= 0:
        raise SystemExit(f"{name}: a loss is not positive")
    kind = design_of(table) if options.kind == "auto" else options.kind
    named = {"budget": table.budget} if "budget" in columns else {}
    for origin in origins(table, kind, min_kept=options.kept):
        kept = {"N": table.N, "D": table.D, "C": table.C, "loss": table.L} | named
        fit = fit_laws(
            {key: values[origin.kept].tolist() for key, values in kept.items()},
            FitOptions(
                predict_budgets=[found.C for found in origin.hidden],
                bootstrap=0 if options.answer_only else options.bootstrap,
                holdout_budgets=0 if options.answer_only else 1,
                ci=LEVEL,
                workers=1,
            ),
            study=name,
            params="total",
        )
        yield list(_outcomes(name, kind, origin, fit, options.answer_only))


def _outcomes(
    name: str, kind: str, origin: Origin, fit: Fit, answer_only: bool
) -> Iterable[Outcome]:
    rng = np.random.default_rng(0)
    methods = _answers(fit.to_json(), answer_only)
    if not answer_only:
        methods |= {
            item.approach.called.replace("approach ", ""): (
                list(item.to_json()["predictions"]),
                _draws_of_approach(item),
            )
            for item in fit.approaches
        }
    for method, (predictions, draws) in methods.items():
        for found in origin.hidden:
            near = [abs(np.log(row["C"] / found.C)) for row in predictions]
            if not near or min(near) > 1e-6:
                continue
            i = int(np.argmin(near))
            if predictions[i]["N_opt_ci"] is None:
                continue
            yield Outcome(
                table=name,
                kind=kind,
                method=method,
                hidden=origin.n_hidden,
                C=found.C,
                times=found.C / origin.largest,
                **_scores(predictions[i], draws(i), found, rng),
            )


def _answers(fit: dict[str, Any], answer_only: bool) -> dict[str, tuple[list, Any]]:
    """Return predictions of the answer and of the form that it would be if exact, with draws."""
    answer = fit.get("answer")
    found: dict[str, tuple[list, Any]] = {}
    if answer is not None:
        predictions = answer["predictions"] or []
        found["answer"] = (predictions, _draws_of_answer(answer, predictions))
        exact = (answer.get("if_form_is_exact") or {}).get("predictions") or []
    else:
        best = fit["approaches"].get(fit["recommended"]["approach"])
        exact = [] if best is None else best["predictions"]
    if not answer_only:
        found["if exact"] = (exact, lambda i: (None, None))
    return found


def _draws_of_answer(answer: dict[str, Any], predictions: list) -> Any:
    """Return what gives the draws of log N_opt and L_opt of a prediction, from the stored law."""
    if answer["law"] is None:
        return lambda i: (None, None)
    law = OptimumLaw.from_json(answer["law"])

    def draws(i: int) -> tuple[np.ndarray, np.ndarray | None]:
        log_C = np.log(predictions[i]["C"])
        return law.log_N_opt(log_C)[:, 0], law.L_opt(log_C)[:, 0] if law.has_loss else None

    return draws


def _draws_of_approach(item: Any) -> Any:
    resampled = item.resampled
    if resampled is None:
        return lambda i: (None, None)

    def draws(i: int) -> tuple[np.ndarray, np.ndarray]:
        factor, prediction = resampled.small_sample_factor, item.predictions[i]
        centres = np.log(prediction.N_opt), prediction.L_opt or np.nan
        both = (resampled.draws[key][:, i] for key in ("log N_opt", "L_opt"))
        return tuple(c + factor * (d - c) for c, d in zip(centres, both, strict=True))

    return draws


def _scores(
    row: dict[str, Any], draws: tuple, found: Found, rng: np.random.Generator
) -> dict[str, Any]:
    log_N, interval = np.log(row["N_opt"]), np.log(row["N_opt_ci"])
    scores = {
        "error_N": float(log_N - found.log_N),
        "ends_N": tuple((interval - found.log_N).tolist()),
        "width_N": float(interval[1] - interval[0]),
        "covered_N": covered(found.log_N, found.log_N_std_err, log_N, interval),
        "crps_N": crps(draws[0], found.log_N, found.log_N_std_err, rng),
    }
    L, ends = row["L_opt"], row["L_opt_ci"]
    if L is None or ends is None:
        return scores
    relative = crps(draws[1], found.L, found.L_std_err, rng) / found.L
    return scores | {
        "error_L": float(100 * (L / found.L - 1)),
        "ends_L": tuple(100 * (end / found.L - 1) for end in ends),
        "width_L": float(100 * (ends[1] - ends[0]) / found.L),
        "covered_L": covered(found.L, found.L_std_err, L, np.array(ends)),
        "crps_L": float(100 * relative),
    }


def covered(found: float, std_err: float, centre: float, interval: np.ndarray) -> bool:
    """Say whether an interval around `centre` reaches what was found, which has an error, too."""
    half = interval[1] - centre if found > centre else centre - interval[0]
    return bool(abs(found - centre) <= np.hypot(half, NORMAL * std_err))


def crps(draws: np.ndarray | None, found: float, std_err: float, rng: np.random.Generator) -> float:
    """Return the continuous ranked probability score of draws, with the error of what was found.

    E|X - y| - E|X - X'|/2 (Gneiting and Raftery 2007, equation 21); NaN without draws.
    """
    if draws is None or not np.isfinite(draws).any():
        return float("nan")
    x = rng.choice(draws[np.isfinite(draws)], N_BLUR) + std_err * rng.standard_normal(N_BLUR)
    x.sort()
    rank = np.arange(1, x.size + 1)
    spread = 2 * np.sum((2 * rank - x.size - 1) * x) / x.size**2
    return float(np.abs(x - found).mean() - spread / 2)


def summary(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the figures of one line of the table."""
    with_L = [o for o in outcomes if o.covered_L is not None]
    scores: dict[str, float] = {"n": len(outcomes), "n_L": len(with_L)}
    for quantity, some in (("N", outcomes), ("L", with_L)):
        if not some:
            continue
        columns = {
            key: np.array([getattr(o, f"{key}_{quantity}") for o in some], float)
            for key in ("covered", "error", "width", "crps")
        }
        p = columns["covered"].mean()
        scores |= {
            f"coverage_{quantity}": 100 * p,
            f"coverage_{quantity}_error": 100 * np.sqrt(p * (1 - p) / len(some)),
            f"mean_error_{quantity}": np.abs(columns["error"]).mean(),
            f"median_error_{quantity}": np.median(np.abs(columns["error"])),
            f"bias_{quantity}": columns["error"].mean(),
            f"width_{quantity}": np.median(columns["width"]),
            f"crps_{quantity}": columns["crps"].mean(),
        }
    return {key: float(value) for key, value in scores.items()}


HEADER = f"{'':<34}{'n':>4}  " + "  ".join(
    f"{q + ' covered':>11}{'mean err':>{first}}{'median':>8}{'bias':>8}{'width':>7}{'CRPS':>8}"
    for q, first in (("N", 9), ("L", 10))
)


def line(label: str, outcomes: Sequence[Outcome]) -> str:
    """Return one line under `HEADER`."""
    s = summary(outcomes)
    text = f"{label:<34}{len(outcomes):>4}  "
    for quantity, digits, blank in (("N", 3, 53), ("L", 2, 52)):
        if f"width_{quantity}" not in s:
            text += "-".rjust(11).ljust(blank)
            continue
        p, error, mean, median, bias, width, score = (
            s[f"{key}{quantity}{end}"]
            for key, end in (
                ("coverage_", ""), ("coverage_", "_error"), ("mean_error_", ""),
                ("median_error_", ""), ("bias_", ""), ("width_", ""), ("crps_", ""),
            )
        )  # fmt: skip
        shown = f"{score:8.{digits}f}" if np.isfinite(score) else f"{'-':>8}"
        first = 9 if quantity == "N" else 10
        text += (
            f"{p:5.0f} ± {error:3.0f}{mean:{first}.{digits}f}{median:8.{digits}f}"
            f"{bias:+8.{digits}f}{width:7.{digits - 1}f}{shown}  "
        )
    return text.rstrip()


def report(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines of the table: all sweeps of a kind, then each sweep."""
    lines = [HEADER]
    methods = list(dict.fromkeys(o.method for o in outcomes))
    for kind in ("budgets", "strata"):
        of_kind = [o for o in outcomes if o.kind == kind]
        if not of_kind:
            continue
        sets = {f"all with {kind}": of_kind}
        for table in dict.fromkeys(o.table for o in of_kind):
            sets[table] = [o for o in of_kind if o.table == table]
        for label, some in sets.items():
            lines.append(label)
            for method in methods:
                own = [o for o in some if o.method == method]
                if own:
                    lines.append(line(f"  {method}", own))
    return lines


def main() -> None:
    """Hide, fit, look up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--answer-only", action="store_true", help="skip the other methods")
    parser.add_argument("--bootstrap", type=int, default=200, help="resamples of the approaches")
    parser.add_argument("--kept", type=int, default=MIN_KEPT, help="budgets kept, at least")
    parser.add_argument("--kind", choices=("auto", "budgets", "strata"), default="auto")
    parser.add_argument("--json", help="write every outcome to this file")
    options = parser.parse_args()

    outcomes: list[Outcome] = []
    for path in tqdm(options.tables, disable=None):
        for found in backtest(Path(path).stem, read_table(path), options):
            outcomes += found
    print("\n".join(report(outcomes)) if outcomes else "no table has enough budgets")
    if options.json:
        content = [asdict(outcome) for outcome in outcomes]
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
