"""The command `flops-fit`: predictions and comparisons from fit.json files, and what an id means.

flops-fit predict results/demo/fit.json 1e13 1e15
flops-fit predict results/demo/fit.json --params 7e9
flops-fit compare results/a/fit.json results/b/fit.json
flops-fit explain 27a21803c6a8
flops-fit explain 27a21803c6a8 ad335493ffd0
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flops_fit.errors import UserError

# Each command imports what it needs: `explain` starts at once, without numpy and scipy.
if TYPE_CHECKING:
    from flops_fit.laws.comparison import Comparison
    from flops_fit.laws.reading import FittedLaws, Optimum


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parse(arguments)
    try:
        lines = _COMMANDS[options.command](options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if hasattr(sys.stdout, "reconfigure"):  # what a terminal without UTF-8 cannot spell
        sys.stdout.reconfigure(errors="backslashreplace")
    print("\n".join(lines))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; compute, or an id, may also follow an option.

    argparse accepts positional arguments in one place only, and its own remedy
    (`parse_intermixed_args`) does not support subcommands. So the arguments it leaves over are
    either compute, or ids, or a mistake.
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if options.command == "explain":
        options.ids += [text for text in rest if not text.startswith("-")]
        rest = [text for text in rest if text.startswith("-")] + options.ids[2:]
        if rest:
            parser.error(f"unrecognized argument: {rest[0]}")
        return options
    for text in rest:
        try:
            options.C.append(_number(text))
        except argparse.ArgumentTypeError:
            parser.error(f"unrecognized argument: {text}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flops-fit", description="Use the laws of a fitted study, or explain an experiment."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="the best N and D at a given compute")
    predict.add_argument("fit", type=Path, help="fit.json of a study")
    predict.add_argument("C", type=_number, nargs="*", help="compute in FLOPs, such as 1e21")
    predict.add_argument(
        "--params", type=_number, action="append", default=[], help="N to find the best D for"
    )
    predict.add_argument(
        "--tokens", type=_number, action="append", default=[], help="D to find the best N for"
    )
    compare_ = commands.add_parser("compare", help="which of two studies is better, and where")
    compare_.add_argument("first", type=Path, help="fit.json of one study")
    compare_.add_argument("second", type=Path, help="fit.json of the other")
    compare_.add_argument("C", type=_number, nargs="*", help="further compute in FLOPs")
    explain = commands.add_parser(
        "explain", help="what an id means and how that experiment went, or how two differ"
    )
    explain.add_argument(
        "ids",
        metavar="ID",
        nargs="+",
        help="an id, its first digits (at least 4), or the path of a run record; of two, the "
        "differences are shown",
    )
    explain.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of the studies (results)"
    )
    return parser


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _load(path: Path) -> FittedLaws:
    from flops_fit.laws.reading import FittedLaws

    try:
        fit = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UserError(f"{path}: is not a JSON file") from None
    return FittedLaws.from_json(fit, str(path))


def _predict(options: argparse.Namespace) -> list[str]:
    from flops_fit.laws.predictions import is_extrapolated

    laws = _load(options.fit)
    wanted = list(options.C)
    wanted += [laws.compute_for("N_opt", N) for N in options.params]
    wanted += [laws.compute_for("D_opt", D) for D in options.tokens]
    if not wanted:
        raise UserError("Say what to predict: a compute in FLOPs, --params N or --tokens D.")
    rows = [_cells(laws.optimum(C)) for C in wanted]
    header = ("C (FLOPs)", "N", "D", "D/N", "L")
    lines = [f"{laws.study}, approach {laws.approach}, {laws.level:.0%} intervals in brackets"]
    if not len(laws.draws):
        lines = [f"{laws.study}, approach {laws.approach}; the fit computed no intervals"]
    lines += _aligned([header, *rows])
    low, high = laws.budgets
    for C in wanted:
        if is_extrapolated(C, laws.budgets):
            times = C / high if C > high else low / C
            side = "above the largest" if C > high else "below the smallest"
            lines.append(
                f"C = {C:.4g} extrapolates: {times:.3g} times {side} measured budget "
                f"({high if C > high else low:.3g})."
            )
    return lines


def _cells(optimum: Optimum) -> tuple[str, ...]:
    found = optimum.intervals
    loss = "none" if optimum.L is None else f"{optimum.L:.4f}{_bracket(found['L_opt'], '.4f')}"
    return (
        f"{optimum.C:.4g}",
        f"{optimum.N:.4g}{_bracket(found['N_opt'], '.3g')}",
        f"{optimum.D:.4g}{_bracket(found['D_opt'], '.3g')}",
        f"{optimum.D / optimum.N:.4g}{_bracket(found['D_per_N'], '.3g')}",
        loss,
    )


def _bracket(interval: tuple[float, float] | None, form: str) -> str:
    return "" if interval is None else f" [{interval[0]:{form}}, {interval[1]:{form}}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _compare(options: argparse.Namespace) -> list[str]:
    import numpy as np

    from flops_fit.laws.comparison import compare

    first, second = _load(options.first), _load(options.second)
    names = (first.study, second.study)
    if first.study == second.study:
        names = (str(options.first), str(options.second))
    low = min(first.budgets[0], second.budgets[0])
    high = max(first.budgets[1], second.budgets[1])
    decades = np.arange(np.ceil(np.log10(low)), np.floor(np.log10(100 * high)) + 1)
    C = np.unique([low, high, *(10.0**decades), *options.C])
    if not np.all(np.isfinite(C) & (C > 0)):
        raise UserError("A compute to compare at must be a positive number of FLOPs.")
    measured = (first.budgets, second.budgets)
    return _comparison_lines(compare(first, second, C), names, measured)


def _comparison_lines(
    found: Comparison,
    names: tuple[str, str],
    measured: tuple[tuple[float, float], tuple[float, float]],
) -> list[str]:
    """Lay out a comparison; each study is extrapolated outside its own `measured` budgets."""
    from flops_fit.laws.predictions import is_extrapolated

    def loss(study: int, i: int) -> str:
        outside = is_extrapolated(found.C[i], measured[study])
        return f"{found.L[study][i]:.4f}{' (extrapolated)' if outside else ''}"

    rows = [("C (FLOPs)", f"L {names[0]}", f"L {names[1]}", "difference", "better")]
    for i, C in enumerate(found.C):
        gap = found.difference[i]
        interval = None if found.interval is None else (found.interval[0][i], found.interval[1][i])
        clear = interval is not None and (interval[0] > 0 or interval[1] < 0)
        winner = names[0] if gap < 0 else names[1]
        rows.append(
            (
                f"{C:.3g}",
                loss(0, i),
                loss(1, i),
                f"{gap:+.4f}{_bracket(interval, '+.4f')}",
                winner if clear else f"{winner}, not clearly" if interval else winner,
            )
        )
    lines = _aligned(rows)
    if found.crossing is None:
        lines.append("The two do not cross near the measured budgets.")
    else:
        lines.append(
            f"They cross at C = {found.crossing:.3g}{_bracket(found.crossing_interval, '.3g')}."
        )
        lines += [
            f"That crossing extrapolates {name}, which was measured from {budgets[0]:.3g} to "
            f"{budgets[1]:.3g}."
            for name, budgets in zip(names, measured, strict=True)
            if is_extrapolated(found.crossing, budgets)
        ]
    if found.share_crossing is not None:
        lines.append(f"{found.share_crossing:.0%} of the resamples cross.")
    return lines


def _explain(options: argparse.Namespace) -> list[str]:
    from flops_fit.pipeline.explain import explain
    from flops_fit.pipeline.explain_difference import lines_of_two
    from flops_fit.pipeline.explain_text import lines_of_one
    from flops_fit.pipeline.finding import find_experiments

    now = time.time()
    found = find_experiments(options.ids, options.results)
    explained = [explain(one, now) for one in found]
    return lines_of_one(*explained) if len(explained) == 1 else lines_of_two(*explained)


_COMMANDS = {"predict": _predict, "compare": _compare, "explain": _explain}

if __name__ == "__main__":
    sys.exit(main())
