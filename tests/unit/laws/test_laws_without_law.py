"""One run, or a few that were not meant to give a law, end in a report and not in an error."""

from __future__ import annotations

import pandas as pd
import pytest
from flops_fit.errors import UserError
from flops_fit.laws.reading import FittedLaws
from flops_fit.laws.without_law import too_few_for_laws, without_law
from flops_fit.report.write import write_report


def columns(n: int, **changes) -> dict[str, list]:
    N, D = [100.0 * (1 + i) for i in range(n)], [1e6] * n
    return {
        "id": [f"r{i}" for i in range(n)], "status": ["completed"] * n, "size": N, "lr": [0.1] * n,
        "seed": [0] * n, "budget": [6e6 * x for x in N], "N": N, "D": D,
        "C": [6e6 * x for x in N], "loss": [2.0 - 0.1 * i for i in range(n)],
    } | changes  # fmt: skip


@pytest.mark.parametrize("n", [1, 4])
def test_few_runs_are_reported_without_an_answer(n, tmp_path):
    runs = columns(n)
    assert too_few_for_laws(runs)
    fit = without_law(runs, "final", "non_embedding")
    assert fit["answer"]["method"] is None
    assert fit["answer"]["predictions"] == fit["warnings"] == []
    assert (fit["n_runs"], fit["k"]["value"], fit["approaches"]) == (n, 6.0, {})
    assert fit["answer"]["why"] == fit["recommended"]["why"]
    write_report(fit, pd.DataFrame(runs), tmp_path, "token")
    said = (tmp_path / "table.md").read_text()
    assert f"{n} run" in said
    assert "too few for a law, which needs at least 5." in said
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1
    assert len(list((tmp_path / "figures").iterdir())) == 4
    with pytest.raises(UserError, match=r"gives no law: .* too few for a law"):
        FittedLaws.from_json(fit, "fit.json")


def test_what_counts_is_what_a_fit_would_count():
    """Six learning rates of one size are one run; five runs that diverged and four others four."""
    grid = columns(6, N=[100.0] * 6, size=[100] * 6, budget=[6e8] * 6, C=[6e8] * 6)
    assert too_few_for_laws(grid | {"lr": [0.1 * (1 + i) for i in range(6)]})
    diverged = columns(9, status=["diverged"] * 5 + ["completed"] * 4)
    assert too_few_for_laws(diverged)
    assert without_law(diverged, "x", "total")["n_runs"] == 4
    assert not too_few_for_laws(columns(5))
    assert too_few_for_laws(columns(5), exclude=["r3"])
    assert not too_few_for_laws(columns(1, status=["diverged"]))
    with pytest.raises(UserError, match="Study x has no completed run"):
        without_law(columns(1, status=["diverged"]), "x", "total")
