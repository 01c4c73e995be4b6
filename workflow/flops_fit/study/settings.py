"""The keys of a study, each written once: name, type, range, default, unit, description.

The schema file, the table of keys in config/README.md, and the checked settings are made from these
models; `document_keys` writes the two files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from flops_fit.laws.approaches.registry import default_names
from flops_fit.study.hardware import PRECISIONS_WITH_PEAK
from flops_fit.study.parametrization import misfit_of_mup
from flops_fit.study.plan_settings import PlanSettings
from flops_fit.study.section import Section, key, section, spelled
from flops_fit.study.settings_by_budget import mistakes_by_budget
from flops_fit.study.simulate_settings import SimulateSettings
from flops_fit.study.train_settings import TrainSettings
from flops_fit.study.trunks import mistakes_of_trunks
from flops_fit.study.values import (
    CODE_WANTED,
    Approaches,
    ArgumentName,
    Factors,
    Flag,
    ImportPath,
    Kwargs,
    LossUnit,
    Names,
    Positive,
    StudyName,
    Text,
    Version,
    check_distinct,
    choice,
    list_of,
    mistakes_below,
    number,
    sentence,
    whole,
)

AS_IN_TABLE = "as_in_table"
"""What N of an imported table counts, if the study does not say so."""


_DENSE = 1.016
"""Ratio of neighbouring candidates: 10% in N are six of them where N grows with the size, three
where it grows with the square, two where it grows with the cube."""
_MOST_CANDIDATES = 500


class TableFile(Section):
    """The long form of ``runs_table``."""

    path: Text = key(
        "The file, relative to the folder of the configuration.",
        "path",
        expected="a path to a CSV, TSV, JSON or Parquet file",
    )
    columns: Names = key(
        "Names of the table's columns where they differ from ours, such as {N: params}.",
        "names",
        default={},
        expected="a map from our name (N, D, C, loss, budget, id, status, lr) to the table's",
    )
    unit: Text = key("What D counts, in the singular.", "name", default="token")
    loss_unit: LossUnit | None = key(
        "Unit of the losses: nats_per_token, bits_per_token, nats_per_byte, bits_per_byte and the "
        "like, or other. Without it they are taken for nats per unit, and doubted where they are "
        "too low for that.",
        "name",
        default=None,
        expected="nats_per_<unit> or bits_per_<unit>, such as bits_per_byte, or other",
    )
    scale: Factors = key(
        "Factors by which columns are multiplied, such as {N: 1e6} for N in millions, or "
        "{C: 8.64e19} for C in PF-days.",
        "factors",
        default={},
        expected="a map from our name of a column of numbers (N, D, C, loss, budget) to a positive "
        "number",
    )


class SizeRange(Section):
    """The sizes of a model as a range."""

    min: Positive = key("Smallest value of the range.", "value of size_param")
    max: Positive = key("Largest value of the range.", "value of size_param")
    count: whole(ge=3, le=1000) | None = key(
        "How many values the range holds; without it they lie about 10% apart in N, and the plan "
        "chooses among them.",
        "sizes",
        default=None,
    )
    multiple_of: Positive = key(
        "Every value of the range is rounded to a multiple of this.",
        "value of size_param",
        default=1,
    )

    @model_validator(mode="after")
    def _check(self) -> SizeRange:
        low, high, step = self.min, self.max, self.multiple_of
        if low >= high:
            raise sentence(f"found min {low:g} and max {high:g}, expected min below max")
        if not math.isfinite(high / low) or not math.isfinite(2 * high / step):
            raise sentence(
                f"found min {low:g}, max {high:g} and multiple_of {step:g}, expected numbers that "
                "do not differ beyond all measure"
            )
        values = self.values
        if not all(map(math.isfinite, values)):
            raise sentence(f"found max {high:g}, expected less than the largest number")
        if len(values) < 3:
            raise sentence(
                f"the range gives the sizes {values} only, expected at least 3; widen it or lower "
                "multiple_of"
            )
        return self

    @property
    def values(self) -> list[float]:
        """Spread evenly in the logarithm, then rounded to multiples, ascending."""
        count = self.count or _candidates(self.max / self.min)
        ratio = math.log(self.max / self.min) / (count - 1)
        spread = (self.min * math.exp(ratio * i) for i in range(count))
        step = self.multiple_of
        return sorted({step * max(1, round(size / step)) for size in spread})


def _candidates(ratio: float) -> int:
    """Return how many sizes span a ratio so densely that 10% apart in N can be chosen of them."""
    return 1 + min(_MOST_CANDIDATES, max(2, math.ceil(math.log(ratio) / math.log(_DENSE))))


class ModelSettings(Section):
    """The model family."""

    target: ImportPath = key(
        "Import path of a callable that returns a torch.nn.Module.",
        "import path",
        expected=CODE_WANTED,
    )
    size_param: ArgumentName = key(
        "The keyword argument of the target that sets the model's size.",
        "name",
        expected="the name of a keyword argument of the model",
    )
    sizes: spelled(list=list_of(Positive, check_distinct, min_length=3), keys=SizeRange) = key(
        "Values of the size parameter that the plan may choose from: a list, or a range that is "
        "spread evenly in the logarithm and rounded to a multiple.",
        "value of size_param",
        expected="a list of at least 3 positive numbers, or {min:, max:, multiple_of:} with "
        "or without count",
    )
    kwargs: Kwargs = key(
        "Further keyword arguments of the target, the same for every size.",
        "keyword arguments",
        default={},
    )
    version: Version = key(
        "Part of every experiment's id. Raise it when the target's code changed in a way that "
        "changes results, and every experiment of this study is trained again.",
        "version",
        default=1,
    )


class DatasetSettings(Section):
    """The dataset."""

    target: ImportPath = key(
        "Import path of a callable that returns a map-style torch Dataset of (input, target).",
        "import path",
        expected=CODE_WANTED,
    )
    kwargs: Kwargs = key(
        "Further keyword arguments of the target.", "keyword arguments", default={}
    )
    version: Version = key(
        "Raise it when the dataset's code changed; it is prepared again, and all is retrained.",
        "version",
        default=1,
    )


class LossSettings(Section):
    """The long form of ``loss``."""

    target: ImportPath = key("Import path of the loss.", "import path", expected=CODE_WANTED)
    version: Version = key(
        "Raise it when the loss's code changed; every experiment is trained again.",
        "version",
        default=1,
    )


class FitSettings(Section):
    """How laws are fitted."""

    params: choice("total", "non_embedding", AS_IN_TABLE) = key(
        "Which parameter count is N; it never changes a plan. With a runs_table it says what its N "
        f"counts, and is {AS_IN_TABLE} unless it is stated.",
        "choice",
        default="non_embedding",
    )
    approaches: Approaches = key(
        "What is fitted: 1 (envelope of the training curves), 2 (IsoFLOP profiles), 3 (parametric "
        "surface, Huber loss of log L), vpnls (the same surface, least squares), bracket (one with "
        "an exponent on its terms, least squares).",
        "choice",
        default_factory=default_names,
    )
    bootstrap: whole(ge=0, le=1_000_000) = key(
        "Resamples behind the intervals; 0 computes no intervals. Surfaces of more than "
        "20000 runs take one Newton step for each instead of a refit.",
        "resamples",
        default=1000,
    )
    ci: number(ge=0.01, le=0.9999) = key(
        "Nominal coverage of the intervals.", "share", default=0.95
    )
    seed: whole(ge=0) = key(
        "Seed of the resamples; the same seed gives the same intervals.", "seed", default=0
    )
    stratify: Flag = key(
        "Resample runs within their budgets; false draws from all runs alike. Approach 2 resamples "
        "the residuals of its profiles in either case.",
        "choice",
        default=True,
    )
    holdout_budgets: whole(ge=0) = key(
        "How many of the largest budgets the hold-out leaves out and predicts; 0 skips it.",
        "budgets",
        default=1,
    )
    tie_exponents: Flag = key(
        "Keep alpha = beta in surfaces, for tables of five or six runs.", "choice", default=False
    )
    E: number(ge=0) | None = key(
        "Fixes E, the loss that nothing can beat, in surfaces and as the offset of L_opt; it is "
        "below every loss. null fits it.",
        "nats",
        default=None,
    )
    noise: choice("constant", "by_compute") = key(
        "by_compute weighs runs by the noise of their losses, which is fitted as a power of C; "
        "constant weighs all alike.",
        "choice",
        default="constant",
    )
    exclude: list_of(Text) = key(
        "Ids of runs to leave out of the fit; fit.json lists them.", "ids", default=[]
    )
    allow_mixed_code: Flag = key(
        "Fit runs of different source or dataset fingerprints together (with a warning) instead of "
        "refusing them.",
        "choice",
        default=False,
    )


class PredictSettings(Section):
    """Where to predict."""

    budgets: list_of(Positive, check_distinct) = key(
        "Further compute budgets of the table.",
        "FLOPs",
        default=[],
        expected="a list of positive numbers",
    )


# Schema and table list the keys of the last base first.


class _Named(Section):
    study: StudyName = key(
        "Name of the study; all its results lie under results/<study>/.",
        "name",
        expected="a name of letters, digits, '.', '_' and '-' that starts with a letter or digit "
        "and is not 'data'",
    )


class _Imported(Section):
    runs_table: spelled(one=Text, keys=TableFile) = key(
        "A table of existing runs, instead of the keys model, dataset, loss, plan and train, with "
        "columns N, D, C (one of D and C may be missing) and loss, and optionally budget, id, "
        "status, lr and trunk (the training that a checkpoint is of).",
        "path",
        expected="a path to a CSV, TSV, JSON or Parquet file, or {path:, columns:, unit:}",
    )


class _Trained(Section):
    model: ModelSettings = section(
        "The model family, called as target(<size_param>=size, **kwargs)."
    )
    dataset: DatasetSettings = section(
        "The dataset, called as target(split=..., folder=..., **kwargs)."
    )
    loss: spelled(one=ImportPath, keys=LossSettings) = key(
        "The loss, called as loss(outputs, targets); it returns the mean over the batch's units, "
        "or (sum, count).",
        "import path",
        expected="an import path 'package.module:name', or {target:, version:}",
    )
    plan: PlanSettings = section("The sweep: a grid of budgets and sizes, or a design.")
    train: TrainSettings = section("How one experiment is trained; the same recipe for every size.")
    simulate: SimulateSettings = section(
        "How `snakemake simulate` tries the plan out without training (docs/planner.md).",
        default={},
    )

    @model_validator(mode="after")
    def _check_recipe(self) -> _Trained:
        found = [
            (("train", name), text) for name, text in mistakes_by_budget(self.train, self.plan)
        ]
        if misfit := misfit_of_mup(self.model, self.train):
            found.append(misfit)
        if self.plan.trunks:
            found += mistakes_of_trunks(self.plan, self.train)
        if found:
            raise mistakes_below("study", found)
        return self


class _Analysed(Section):
    fit: FitSettings = section("How laws are fitted to the runs.", default={})
    predict: PredictSettings = section(
        "What the table predicts beyond the study's own budgets.", default={}
    )


class TrainedStudy(_Analysed, _Trained, _Named):
    """A study that trains its runs."""

    @model_validator(mode="after")
    def _check_params(self) -> TrainedStudy:
        if self.fit.params == AS_IN_TABLE:
            text = f"found {AS_IN_TABLE!r} without a runs_table, expected total or non_embedding"
            raise mistakes_below("study", [(("fit", "params"), text)])
        return self

    @model_validator(mode="after")
    def _check_hardware(self) -> TrainedStudy:
        hardware, precision = self.plan.hardware, self.train.precision
        if hardware is not None and hardware.speed_of_process(precision) is None:
            text = (
                f"found {hardware.gpu} with the train.precision {precision!r}, of which no peak is "
                f"known, expected {' or '.join(PRECISIONS_WITH_PEAK)}, or flops_per_second instead"
            )
            raise mistakes_below("study", [(("plan", "hardware", "gpu"), text)])
        return self


class ImportedStudy(_Analysed, _Imported, _Named):
    """A study that brings its own runs, as a table."""

    @model_validator(mode="before")
    @classmethod
    def _leave_params_open(cls, raw: Any) -> Any:
        """Do not take N for non-embedding parameters where nobody says so."""
        fit = raw.get("fit", {}) if isinstance(raw, Mapping) else None
        if not isinstance(fit, Mapping):
            return raw
        return {**raw, "fit": {"params": AS_IN_TABLE, **fit}}
