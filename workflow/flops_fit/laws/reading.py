"""The laws of a fit.json, ready to be read at any N, D and C, with intervals from its draws."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flops_fit.errors import UserError
from flops_fit.laws.data.accounting import FlopsPerUnit
from flops_fit.laws.readouts.inference import best_at_total, least_for_loss
from flops_fit.laws.readouts.landscape import Landscape
from flops_fit.laws.readouts.optimum import Draws, at_compute, at_value
from flops_fit.laws.readouts.price import at_model, log_C_of, off_optimum
from flops_fit.laws.readouts.summary import Estimate, summarised
from flops_fit.laws.stored import of_answer, of_approach

Array = NDArray[np.float64]
Reading = dict[str, Estimate | None]
"""Quantity -> estimate and interval; None where too few draws have the quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLaws:
    """What a fit says of N, D, C and L: its answer, and around that the shape of its surface.

    A fit.json without an answer, of an earlier version, is read by its recommended approach.
    """

    study: str
    said_by: str
    """Whose optima these are, for a sentence: "the answer", or "approach 3"."""
    draws: Landscape | None
    """None if the fit computed no intervals."""
    estimate: Landscape | None
    """None if the estimates are the medians of the draws, as an answer's are."""
    loss_unit: str | None
    """Of L, as it was stated; None where nothing was, which is nats per unit."""
    flops: FlopsPerUnit
    budgets: tuple[float, float]
    """Smallest and largest measured budget, FLOPs."""
    level: float
    shape_from: str
    """The surface that the loss beside the optimum comes from, or why there is none."""

    @classmethod
    def from_file(cls, path: Path | str) -> FittedLaws:
        """Read a study's fit.json, from its path or that of its folder.

        Raises
        ------
        UserError
            If it cannot be read or used, see `from_json`.
        """
        return cls.from_json(*read_fit(path))

    @classmethod
    def from_json(cls, fit: Mapping[str, Any], source: str) -> FittedLaws:
        """Read the content of fit.json; `source` is named in errors.

        Raises
        ------
        UserError
            If it holds no laws, or is not a fit.json of this version.
        """
        try:
            return _read(fit, source)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{source}: is not a fit.json that predictions can be made from ({error!r}); fit "
                "the study again"
            ) from None

    @property
    def near(self) -> float:
        """The middle of the measured log C."""
        return float(np.log(self.budgets).mean())

    @property
    def all_draws(self) -> Landscape:
        """The draws, or the estimate alone where there are none."""
        return self.estimate if self.draws is None else self.draws

    def read(self, readout: Callable[[Landscape], Draws]) -> Reading:
        """Return the estimate and interval of what is computed from each draw."""
        estimate = None if self.estimate is None else readout(self.estimate)
        if self.draws is not None:
            return summarised(readout(self.draws), level=self.level, estimate=estimate)
        nothing = dict.fromkeys(estimate, np.empty(0))
        return summarised(nothing, level=self.level, estimate=estimate)

    def at_compute(self, C: float) -> Reading:
        """Return the optimum at `C` FLOPs: "C", "N_opt", "D_opt", "D_per_N", "L_opt".

        Raises
        ------
        UserError
            If C is not a positive number, or the laws leave the range of numbers there.
        """
        log_C = _log(C, "The compute", "number of FLOPs")
        found = self.read(lambda landscape: at_compute(landscape, log_C))
        sizes = [found["N_opt"], found["D_opt"]]
        if not all(x is not None and np.isfinite(x.value) and x.value > 0 for x in sizes):
            raise UserError(f"The laws leave the range of numbers at C = {C:g}; ask for less.")
        return found

    def at_value(self, quantity: str, value: float) -> Reading:
        """Return, as `at_compute`, the optimum whose "N_opt" or "D_opt" is `value`.

        Each draw has a C of its own there: the interval of D at a given N holds what is not known
        of C, too.

        Raises
        ------
        UserError
            If there is none: the value is not positive, or the law does not rise to it.
        """
        log_value = _log(value, quantity[0], "number")
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.read(lambda every: at_value(every, quantity, log_value, self.near))
        if found["C"] is None or not 0 < found["C"].value < np.inf:
            raise UserError(
                f"No compute between 1 and 1e+30 FLOPs has {value:g} as its best {quantity[0]} "
                f"under the laws of {self.study}."
            )
        return found

    def at_model(self, N: float, D: float) -> Reading:
        """Return the loss of `N` parameters trained on `D` units, and the price of that choice.

        Returns
        -------
        dict
            "C", "N", "D", "D_per_N", "L"; "factor": N over the N_opt of the same C; "extra": the
            loss above L_opt(C); "equivalent": the share of C with which an optimal training reaches
            L; "overhead": the multiple of C with which this N reaches L_opt(C), infinite if never.

        Raises
        ------
        UserError
            If N or D is not positive, or no surface is known.
        """
        self._need_shape()
        log_N, log_D = _log(N, "N", "number"), _log(D, "D", "number")
        log_C = log_C_of(self.all_draws, log_N, log_D)
        return self.read(lambda landscape: at_model(landscape, log_N, log_C))

    def off_optimum(self, C: float, factor: float) -> Reading:
        """Return, as `at_model`, the price of `factor` times N_opt at `C` FLOPs.

        Raises
        ------
        UserError
            If C or the factor is not positive, or no surface is known.
        """
        self._need_shape()
        log_C = _log(C, "The compute", "number of FLOPs")
        u = _log(factor, "The factor", "number")
        return self.read(lambda landscape: off_optimum(landscape, u, log_C))

    def with_inference(
        self, served: float, *, total: float | None = None, loss: float | None = None
    ) -> Reading:
        """Return the best N and D where the model will be used for `served` units.

        Training takes flops_per_unit(N) D FLOPs and inference a third of it per served unit
        (Sardana et al., arXiv 2401.00448).

        Parameters
        ----------
        served : float
            Units, at least 0.
        total : float, optional
            FLOPs of training and inference together, of which the lowest loss is sought.
        loss : float, optional
            Nats per unit, to be reached with the fewest FLOPs of both; one of the two is given.

        Returns
        -------
        dict
            "N_opt", "D_opt", "D_per_N", "L_opt", "C": of training, "total", "factor": N over the N
            that is best for training alone at the same C; with a loss "saving": the total with the
            N of the least training, over this total.

        Raises
        ------
        UserError
            If an argument is out of range, no surface is known, or the loss cannot be reached.
        """
        self._need_shape()
        if (total is None) == (loss is None):
            raise UserError("Give a total compute or a loss to reach, and not both.")
        if not (np.isfinite(served) and served >= 0):
            raise UserError(f"The served units are {served}, but must be a number, 0 or more.")
        if total is not None:
            log_total = _log(total, "The total compute", "number of FLOPs")
            return self.read(lambda every: best_at_total(every, log_total, served))
        if not np.isfinite(loss):
            raise UserError(f"The loss to reach is {loss}, but must be a number.")
        found = self.read(lambda every: least_for_loss(every, loss, served, self.near))
        if found["N_opt"] is None or not np.isfinite(found["total"].value):
            raise UserError(
                f"A loss of {loss:g} is not reached below 1e+30 FLOPs in more than a tenth of what "
                f"the runs of {self.study} allow; ask for a higher one."
            )
        return found

    def losses(self, C: Array) -> tuple[Array, Array]:
        """Return L_opt of the estimate (n_C,), and of every draw (n_draws, n_C); no draws, no rows.

        Percentiles of what is computed from draws are intervals like those of fit.json.
        """
        log_C = np.log(C)
        draws = np.empty((0, C.size)) if self.draws is None else self.draws.L_opt(log_C)
        if self.estimate is None:
            return np.median(draws, axis=0), draws
        return self.estimate.L_opt(log_C)[0], draws

    def _need_shape(self) -> None:
        if self.all_draws.shape is None:
            raise UserError(f"Only the optima of {self.study} can be read: {self.shape_from}.")


def read_fit(path: Path | str) -> tuple[dict[str, Any], str]:
    """Return the content of a study's fit.json, from its path or that of its folder, and the path.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    path = Path(path)
    path = path / "fit.json" if path.is_dir() else path
    try:
        return json.loads(path.read_text(encoding="utf-8")), str(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UserError(f"{path}: is not a JSON file") from None


def _log(value: float, name: str, kind: str) -> float:
    if not (np.isfinite(value) and value > 0):
        raise UserError(f"{name} is {value}, but must be a positive {kind}.")
    return float(np.log(value))


def _read(fit: Mapping[str, Any], source: str) -> FittedLaws:
    answer, recommended = fit.get("answer"), fit["recommended"]
    if answer is None and recommended["approach"] is None:
        raise UserError(f"{source}: recommends no approach: {recommended['why']}")
    k = fit["k"]
    N, per_unit = np.array(k["N"], float), np.array(k["flops_per_unit"], float)
    flops = FlopsPerUnit(log_N=np.log(N), log_flops=np.log(per_unit), k=float(k["value"]))
    prediction = fit["prediction"]
    if prediction is None:
        measured = [point["C"] for point in answer["points"]]
    else:
        measured = prediction["budgets"]
    if not measured:
        raise UserError(f"{source}: gives no law: {answer['why']}")
    common = {
        "study": str(fit["study"]),
        "loss_unit": fit.get("loss_unit"),
        "flops": flops,
        "budgets": (float(min(measured)), float(max(measured))),
    }
    if answer is None:
        block = prediction | {"approach": recommended["approach"]}
        return FittedLaws(**common, **of_approach(block, flops), level=float(prediction["ci"]))
    level = float(answer["ci"])
    if answer["law"] is not None:
        return FittedLaws(**common, **of_answer(fit, flops), level=level)
    if fit.get("surface") is None:
        raise UserError(f"{source}: gives no law: {answer['why']}")
    found = of_approach(fit["surface"], flops)
    found["said_by"] += f" alone, as there is no answer ({answer['why']})"
    return FittedLaws(**common, **found, level=level)
