"""Tries a plan out without training: many studies against a law, each planned and fitted for real.

Everything that leaves this module says SIMULATED.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flops_fit.design.precision import spend_for
from flops_fit.design.question import DesignError
from flops_fit.design.simulation import Progress, Sweep
from flops_fit.design.trial import Trial
from flops_fit.errors import UserError
from flops_fit.files.writing import write_json, write_whole
from flops_fit.pipeline.simulated_texts import studies_csv, summary_json, summary_text
from flops_fit.plan.layouts.designed import Ground
from flops_fit.plan.plan import make_plan
from flops_fit.plan.tried_out import laid_grid, truth_of_study
from flops_fit.study.study import Study
from flops_fit.user_code.dataset_meta import DatasetMeta

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure


def simulate_study(
    study: Study,
    data_folder: Path,
    meta: DatasetMeta,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Trial]:
    """Simulate a study as it is planned, once for each spend that is asked for.

    Raises
    ------
    UserError
        If the study cannot be planned, or names no law.
    """
    sizes = _measured(study, data_folder, meta)
    sweeps = _sweeps(study, sizes, meta)
    options, trials = study.simulate, []
    for spend, sweep in sweeps.items():

        def counted(finished: int, of: int, before: int = len(trials)) -> None:
            if progress is not None:
                progress(before * of + finished, len(sweeps) * of)

        trial = partial(Trial.of, sweep, truth_of_study(study, sweep), options.studies, spend=spend)
        with _named_design(study):
            trials.append(trial(seed=options.seed, workers=workers, progress=counted))
    return trials


def write_simulated(study: Study, trials: list[Trial], study_folder: str | Path) -> str:
    """Write ``simulated/`` anew, and return the text of its ``summary.md``.

    Nothing else in the study's folder is touched.
    """
    folder = Path(study_folder) / "simulated"
    shutil.rmtree(folder, ignore_errors=True)
    write_whole(folder / "studies.csv", studies_csv(trials))
    write_json(folder / "summary.json", summary_json(study.name, trials))
    text = summary_text(study.name, trials)
    write_whole(folder / "summary.md", text)
    return text


def _measured(study: Study, data_folder: Path, meta: DatasetMeta) -> dict[float, SizeMeasure]:
    """Measure the sizes in a process of its own: this one forks, and must not have run torch."""
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(max_workers=1, mp_context=fork) as pool:
        return pool.submit(_measure, study, data_folder, meta).result()


def _measure(study: Study, data_folder: Path, meta: DatasetMeta) -> dict[float, SizeMeasure]:
    from flops_fit.user_code.measure import measure_sizes  # torch

    return measure_sizes(study, data_folder, meta)


def _sweeps(
    study: Study, sizes: Mapping[float, SizeMeasure], meta: DatasetMeta
) -> dict[float | None, Sweep]:
    """Return what is simulated, by spend."""
    plan, spends = study.plan, study.simulate.spends
    if not plan.designed:
        if spends:
            raise UserError(
                f"{study.config_file}: simulate.spends: found with a grid, expected with "
                "plan.target: the price of a grid is that of its plan.budgets"
            )
        return {None: laid_grid(study, make_plan(study, sizes, meta).experiments)}
    ground = Ground(study=study, sizes=sizes, data=meta)
    if not spends and plan.spend is None:
        with ground.named_errors("plan.precision"):
            return dict([_precise(ground)])
    spends, key = (spends, "simulate.spends") if spends else ((plan.spend,), "plan.spend")
    with ground.named_errors(key):
        return {spend: ground.sweep(spend) for spend in spends}


def _precise(ground: Ground) -> tuple[float, Sweep]:
    plan = ground.study.plan
    spend = spend_for(plan.precision, plan.target, ground.sweep)[0]
    return spend, ground.sweep(spend)


@contextmanager
def _named_design(study: Study) -> Iterator[None]:
    """Turn the refusal of a simulated round into a sentence for the user."""
    try:
        yield
    except DesignError as error:
        raise UserError(f"{study.config_file}: plan: in a SIMULATED study: {error}") from None
