"""Which column of a table of runs is N, D, C, loss, ...: by its own name, or by a usual one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from flops_fit.errors import UserError
from flops_fit.study.study import RunsTable

COLUMNS = (
    "id",
    "status",
    "budget",
    "size",
    "seed",
    "lr",
    "N",
    "D",
    "C",
    "loss",
    "epochs",
    "unique",
    "trunk",
)
"""Columns that are read from a table; all others are ignored."""

NEEDED = ("N", "loss")
DERIVED = ("C", "D")
"""Columns of which each follows from the other and N."""

USUAL_NAMES = {
    "N": (
        "params", "n_params", "num_params", "nparams", "param_count", "params_count",
        "parameters", "n_parameters", "num_parameters", "parameter_count", "total_params",
        "model_params", "model_size", "n_params_total", "n_params_non_embedding",
        "non_embedding_params", "params_non_embedding",
    ),
    "D": (
        "{unit}s", "n_{unit}s", "num_{unit}s", "train_{unit}s", "training_{unit}s",
        "total_{unit}s", "n_train_{unit}s", "num_train_{unit}s", "{unit}s_seen",
        "{unit}s_trained", "{unit}_count",
    ),
    "C": (
        "flops", "flop", "compute", "n_flops", "num_flops", "total_flops", "train_flops",
        "training_flops", "training_compute", "train_compute", "compute_flops",
    ),
    "loss": (
        "val_loss", "valid_loss", "validation_loss", "eval_loss", "test_loss", "final_loss",
        "final_val_loss", "final_validation_loss", "final_eval_loss", "loss_val", "loss_final",
    ),
    "lr": ("learning_rate", "max_lr", "peak_lr", "max_learning_rate", "peak_learning_rate"),
    "status": ("state", "run_state"),
    "epochs": ("n_epochs", "num_epochs"),
}  # fmt: skip
"""Names that say what they hold, as `spelled` writes them. Runs keep their names of rows: a column
of names need not be unique."""

_HINTS = {
    "N": ("param", "model size", "weights", "size"),
    "D": ("token", "unit", "image", "sample", "data", "seen"),
    "C": ("flop", "compute"),
    "loss": ("loss", "nll", "cross", "bpb", "bits"),
}
"""Parts of names that are proposed where no usual name is there."""

MOST_SHOWN = 30
"""Tables of trackers have hundreds of columns."""


def spelled(name: str) -> str:
    """Write a name in lower case, with one underscore for whatever separates its words."""
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def choose_columns(
    names: Sequence[str], table: RunsTable, equal: Callable[[Sequence[str]], bool]
) -> dict[str, str]:
    """Return the table's column for each of `COLUMNS` that it has.

    Parameters
    ----------
    names
        The table's columns.
    equal
        Says whether several columns hold the same: then any of them will do.

    Raises
    ------
    UserError
        If the study names a column that is not there, N or loss is missing, both C and D are, or
        several columns may be meant.
    """
    _check_map(names, table)
    chosen: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for ours in COLUMNS:
        found = _candidates(ours, names, table)
        if len(found) == 1 or (found and equal(found)):
            chosen[ours] = found[0]
        elif found:
            several[ours] = found
    asked = [name for name in (*NEEDED, "lr") if name in several]
    if not {*DERIVED} & set(chosen):
        asked += [name for name in DERIVED if name in several]
    if asked:
        raise UserError(
            f"{table.path}: several columns may be {asked[0]} ({', '.join(several[asked[0]])}); "
            f"say which one is, as in {_map_of({asked[0]: several[asked[0]][0]})}"
        )
    _check_needed(names, table, chosen)
    return chosen


def _check_map(names: Sequence[str], table: RunsTable) -> None:
    """Check the study's own map of names."""
    unknown = sorted(set(table.columns) - set(COLUMNS))
    if unknown:
        raise UserError(
            f"runs_table.columns: found {unknown[0]!r}, expected names among {', '.join(COLUMNS)}"
        )
    for ours, theirs in table.columns.items():
        if theirs not in names:
            near = difflib.get_close_matches(theirs, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(
                f"{table.path}: runs_table.columns names {theirs!r} for {ours}, but the columns "
                f"are {_shown(names)}{hint}"
            )
        if list(names).count(theirs) > 1:
            raise UserError(
                f"{table.path}: runs_table.columns names {theirs!r} for {ours}, but "
                f"{list(names).count(theirs)} columns have that name; rename all but one"
            )


def _candidates(ours: str, names: Sequence[str], table: RunsTable) -> list[str]:
    """Return the columns that may be `ours`: the mapped one, else of that name, else usual ones."""
    if ours in table.columns:
        return [table.columns[ours]]
    free = [name for name in names if name not in table.columns.values()]
    for same in (
        [name for name in free if name == ours],
        [name for name in free if name.lower() == ours.lower()],
    ):
        if same:
            return same
    usual = {name.format(unit=spelled(table.unit)) for name in USUAL_NAMES.get(ours, ())}
    return [name for name in free if spelled(name) in usual]


def _check_needed(names: Sequence[str], table: RunsTable, chosen: dict[str, str]) -> None:
    missing = [name for name in NEEDED if name not in chosen]
    likely = {name: _likely(name, names, chosen) for name in missing}
    if not {*DERIVED} & set(chosen):
        missing.append("C or D")
        likely |= {name: _likely(name, names, chosen) for name in DERIVED}
    if not missing:
        return
    proposed = {name: found[0] for name, found in likely.items() if found}
    questions = [f"{name} may be {' or '.join(map(repr, found))}"
                 for name, found in likely.items() if found]  # fmt: skip
    raise UserError(
        f"{table.path}: the table lacks {', '.join(missing)}; its columns are {_shown(names)}. "
        f"{'; '.join(questions) + '. ' if questions else ''}"
        f"Map them, as in {_map_of(proposed or {'N': 'params'})}"
    )


def _likely(ours: str, names: Sequence[str], chosen: dict[str, str]) -> list[str]:
    """Return up to three columns whose names hint at `ours`."""
    free = [name for name in names if name not in chosen.values()]
    # A ratio, such as tokens_per_param, is neither
    free = [name for name in free if "per" not in re.split(r"[\W_]+", spelled(name))]
    hinted = [
        name
        for hint in _HINTS[ours]
        for name in free
        if hint in spelled(name).replace("_", " ") or hint in spelled(name)
    ]
    return list(dict.fromkeys(hinted))[:3]


def _map_of(columns: dict[str, str]) -> str:
    plain = re.compile(r"[A-Za-z][\w/.-]*( [\w/.-]+)*")
    pairs = [
        f"{ours}: {theirs if plain.fullmatch(theirs) else repr(theirs)}"
        for ours, theirs in columns.items()
    ]
    return f"runs_table: {{path: ..., columns: {{{', '.join(pairs)}}}}}"


def _shown(names: Sequence[str]) -> str:
    named = [name for name in names if name]
    more = len(named) - MOST_SHOWN
    return ", ".join(named[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
