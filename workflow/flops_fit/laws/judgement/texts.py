"""Every judgement that a fit can make: its code, how serious it is, when it is made, its text.

This table, with `phrases` for what a template cannot say, is the only place with sentences of
judgements. Nothing branches on them: whoever rewords one
changes what people read and no number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flops_fit.laws.judgement import phrases

Severity = Literal["info", "warning", "serious"]
"""info: how a number came about, nothing to do. warning: numbers are less certain or more biased
than they look. serious: do not act on the numbers before you have looked into it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is the same in all judgements of one code."""

    severity: Severity
    when: str
    """When it is made, one sentence, for documentation."""
    text: str | Callable[..., str]
    """A template for `str.format`, or a function, of the judgement's values by name."""

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the sentence for these values."""
        return self.text.format(**values) if isinstance(self.text, str) else self.text(**values)


KINDS: dict[str, Kind] = {
    # The runs
    "losses_not_nats": Kind(
        "serious",
        "A loss is not positive, or above 20 nats (bits or bytes accordingly).",
        "The loss of {n} of {of} runs cannot be {unit}: the losses range from {lowest:.3g} "
        "to {highest:.3g}, not within 0 to {limit:.3g}.",
    ),
    "units": Kind(
        "serious",
        "N, D, C or the loss is in another unit, such as millions, PF-days or bits per byte.",
        phrases.units,
    ),
    "compute_off_budget": Kind(
        "warning",
        "The C of a run differs from the budget that it names by more than a plan allows.",
        "C of {n} of {of} runs differs from its budget by more than {limit:.0%} (up to "
        "{largest:.1%}): their losses are not at one C.",
    ),
    "repeated_runs": Kind(
        "warning",
        "Runs equal one another in N, D, C and loss.",
        "{n} of {of} runs repeat another in N, D, C and loss to the last digit: they are copies, "
        "and are not counted.",
    ),
    "checkpoints_as_runs": Kind(
        "warning",
        "Runs of one N look like checkpoints of one training: their errors go together.",
        "Rows of one N and many D look like checkpoints of one training ({n} rows of {trainings} "
        "trainings): deviations from a smooth surface correlate by {along_D:.2f} between "
        "neighbours of one N, and by {along_N:.2f} between neighbours of one D. Surfaces resample "
        "these trainings whole; a column trunk says which rows are one training.",
    ),
    "repeated_data": Kind(
        "warning",
        "A run sees its data more than once.",
        phrases.repeated_data,
    ),
    "repeats_set_aside": Kind(
        "warning",
        "A run repeats its data over 16.4 times, or its loss has risen again.",
        "{n} of {of} runs are left out, because they repeat their data more than {limit:.3g} times "
        "or their loss has risen again, which effective data do not describe.",
    ),
    "data_run_out": Kind(
        "info",
        "A predicted D_opt is larger than the data that all runs share.",
        phrases.data_run_out,
    ),
    "compute_differs_from_6nd": Kind(
        "info",
        "6ND differs from the FLOPs spent by more than 5% (median over the runs).",
        "6ND differs from the FLOPs really spent by {difference:+.1%} (median): do not compare "
        "these laws with laws in 6ND.",
    ),
    "inconsistent_compute": Kind(
        "serious",
        "C/(N D) of a run differs from that of runs of similar N.",
        "C does not go with N and D in {n} of {of} runs: C/(N D) differs from that of runs of "
        "similar N by more than {limit:.0%}; the worst, {worst}, has {found:.3g} where {usual:.3g} "
        "is usual. Check these columns: C decides which sizes are compared.",
    ),
    "learning_rate_at_edge": Kind(
        "warning",
        "The best of several learning rates is the smallest or the largest that was tried.",
        phrases.learning_rates,
    ),
    "noise_varies": Kind(
        "info",
        "The noise of the losses changes with compute, by a factor of 2 or more.",
        "Noise at the smallest C is {ratio:.2g} times that at the largest (as C^-h, h = {h:.2f} +- "
        "{std_err:.2f}), but all runs count alike: fit.noise: by_compute weighs them.",
    ),
    "noise_by_compute": Kind(
        "info",
        "fit.noise: by_compute weighs runs by their noise.",
        "Runs are weighed by noise that goes as C^-h, h = {h:.2f} +- {std_err:.2f}: {ratio:.2g} "
        "times as large at the smallest C as at the largest (fit.noise).",
    ),
    "pinned_e": Kind(
        "info",
        "fit.E fixes E.",
        "E = {E:.4g} is assumed (fit.E), in surfaces and as the offset of L_opt: it is no finding, "
        "and no interval holds its error.",
    ),
    "optimum_differs_from_6nd": Kind(
        "info",
        "N_opt under the measured FLOPs and under C = 6 N D differ by more than 5%.",
        "With the measured FLOPs per unit N_opt at C = {C:.3g} differs by {difference:+.1%} from "
        "what C = 6 N D would give (k = {k:.3g}).",
    ),
    "approaches_disagree": Kind(
        "warning",
        "The intervals of two approaches for the exponent of N_opt do not meet.",
        phrases.disagreement,
    ),
    "mixed_code": Kind(
        "serious",
        "Runs of different code or data are fitted together, as fit.allow_mixed_code allows.",
        phrases.mixed_code,
    ),
    "mixed_trainer": Kind(
        "warning",
        "Runs were trained by versions of flops-fit whose trainers differ.",
        phrases.mixed_trainer,
    ),
    "unknown_trainer": Kind(
        "info",
        "The records of some runs do not say which trainer made them.",
        phrases.unknown_trainer,
    ),
    "mixed_environment": Kind(
        "info",
        "Runs were trained under different versions of torch or on different devices.",
        phrases.mixed_environment,
    ),
    "derived_column": Kind(
        "warning", "An imported table leaves C or D empty, which is then derived.", phrases.derived
    ),
    "unfinished_runs": Kind(
        "warning",
        "Runs of an imported table have not finished: crashed, failed, killed, running.",
        phrases.unfinished,
    ),
    "unfinished_study": Kind(
        "warning", "Some planned experiments have no record yet.",
        "The study is not finished: {counts}.",
    ),
    # Profiles (approach 2)
    "runs_at_no_budget": Kind(
        "info",
        "Runs of a table without budgets stand between the groups.",
        "{n} of {of} runs stand at no budget and are in no profile.",
    ),
    "too_few_sizes": Kind(
        "warning",
        "A budget has fewer than three sizes.",
        "Budget {budget:.3g} has {n} size(s) and gives no profile, which needs {needed}.",
    ),
    "no_minimum": Kind(
        "warning",
        "The parabola of a profile does not open upwards.",
        "The profile at C = {C:.3g} has no minimum (curvature {curvature:.2g}) and gives no "
        "optimum.",
    ),
    "minimum_out_of_reach": Kind(
        "warning",
        "The minimum of a profile lies further outside its sizes than these span.",
        "The minimum at C = {C:.3g} lies {outside:.2g} ranges of log N outside its sizes and gives "
        "no optimum: add {add} sizes.",
    ),
    "minimum_at_edge": Kind(
        "serious",
        "The sizes of a profile do not enclose its minimum.",
        "The minimum at C = {C:.3g} lies at the edge of its profile: the lowest run has N = "
        "{lowest:.3g} and the vertex {vertex:.3g}, of sizes {smallest:.3g} to {largest:.3g}.",
    ),
    "laws_on_edge_minima": Kind(
        "serious",
        "Fewer than three optima are enclosed by sizes, and others lie at an edge.",
        "Of the {of} minima of the profiles {inside} lie inside their sizes: a law through minima "
        "at the edge says where the sizes end, not how the best size grows.",
    ),
    "weights_moved_minimum": Kind(
        "warning",
        "Weights against outliers moved the minimum of a profile by more than 1%.",
        phrases.moved_minima,
    ),
    "off_centre_grid": Kind(
        "warning",
        "The minimum lies in the lower or the upper quarter of a profile's range of log N.",
        "The grid at C = {C:.3g} is off-centre: its minimum lies at {position:.0%} of the range of "
        "log N, which shifts the vertex of a parabola.",
    ),
    "curvature_untested": Kind(
        "warning",
        "A profile has three runs, through which a parabola always passes.",
        "The parabola at C = {C:.3g} interpolates its {n} runs: nothing tests its curvature.",
    ),
    "curvature_not_significant": Kind(
        "warning",
        "Noise alone may have bent a profile's parabola (one-sided t-test at 5%).",
        "The curvature at C = {C:.3g} is not significant (p = {p_value:.2g}): its minimum may be "
        "noise.",
    ),
    "drifting_grids": Kind(
        "warning",
        "The minimum moves one way through the grids, by more than a quarter of their range.",
        "The grids drift: from the smallest to the largest budget the minimum moves from "
        "{first:.0%} to {last:.0%} of the range of log N, which biases the exponents.",
    ),
    "optimum_beyond_sizes": Kind(
        "warning",
        "A measured optimum lies beyond all sizes of the study.",
        phrases.optimum_beyond_sizes,
    ),
    "scattered_optima": Kind(
        "warning",
        "The minima scatter about the law of N_opt by more than their noise (F-test at 5%).",
        "The minima scatter {ratio:.2g} times as much about the law of N_opt as the noise of their "
        "profiles explains (p = {p_value:.2g}): budgets differ in more than C, or no power law "
        "joins them. Intervals of N_opt and D_opt take that into account.",
    ),
    # Training curves (approach 1)
    "training_losses": Kind(
        "info",
        "The envelope is read from training curves.",
        "The envelope reads the training losses of {n} curves, not validation losses.",
    ),
    "end_points_only": Kind(
        "warning",
        "The schedule decays, or there are no curves, so that only end points are compared.",
        phrases.end_points,
    ),
    "best_run_at_edge": Kind(
        "warning",
        "The best run of a budget has its smallest or largest size.",
        phrases.best_run_at_edge,
    ),
    # Surfaces (approach 3, VPNLS)
    "parameters_on_bound": Kind(
        "serious", "The best surface has a parameter at the end of its range.", phrases.bounds
    ),
    "tied_exponents": Kind(
        "info",
        "fit.tie_exponents keeps alpha = beta.",
        "alpha = beta is assumed (fit.tie_exponents): that N_opt and D_opt grow as C^0.5 under C = "
        "k N D is no finding, and has no interval.",
    ),
    "e_is_zero": Kind(
        "serious",
        "The best surface has E = 0.",
        "E is not identified: the best surface has none (E = 0).",
    ),
    "e_not_identified": Kind(
        "serious",
        "A surface without E fits nearly as well (F-test at 1%).",
        "E is not identified: a surface without it fits nearly as well (objective {without:.4g} "
        "against {objective:.4g}, p = {p_value:.2g}), so that L_opt beyond the budgets is "
        "uncertain.",
    ),
    "gamma_not_identified": Kind(
        "warning",
        "A surface without an exponent on the bracket fits nearly as well (F-test at 1%).",
        "Gamma = {gamma:.3g} is not told from 1: the surface without a bracket fits nearly as well "
        "(objective {without:.4g} against {objective:.4g}, p = {p_value:.2g}); read that one.",
    ),
    "lack_of_fit": Kind(
        "serious",
        "The residuals of a surface bend with log N beyond the noise (F-test at 1%).",
        phrases.lack_of_fit,
    ),
    "outliers": Kind(
        "warning", "Runs lie further from the surface than noise explains.", phrases.outliers
    ),
    # Laws
    "few_budgets": Kind(
        "warning",
        "The laws rest on fewer than three budgets.",
        "The laws rest on {n} budgets, fewer than {needed}: a line through two points fits "
        "perfectly, whatever the truth.",
    ),
    "law_is_constant": Kind(
        "warning",
        "N_opt or D_opt has the exponent 0.",
        "{quantity} does not change with C (exponent 0).",
    ),
    "law_falls": Kind(
        "serious",
        "N_opt or D_opt has a negative exponent.",
        "{quantity} falls with C (exponent {exponent:.3g}).",
    ),
    "loss_does_not_fall": Kind(
        "serious",
        "The losses at the optima do not fall with C.",
        "L_opt does not fall with C: it is {first_L:.4g} at C = {first_C:.3g} and {last_L:.4g} at "
        "{last_C:.3g}. More compute did not help, so that these optima do not say how to spend it: "
        "look at learning rates, diverged runs and the columns C and loss.",
    ),
    "no_law_of_loss": Kind(
        "warning",
        "An optimum has a loss of 0 or less and no negative offset, or one not above fit.E.",
        "L_opt has no power law: it falls to {lowest:.3g}, not above {floor:.3g}, and no lower "
        "offset is known.",
    ),
    "offset_few_budgets": Kind(
        "warning",
        "Fewer than four budgets cannot identify the offset of L_opt.",
        "L_opt: the offset is set to 0, because {n} budgets cannot identify it ({needed} are "
        "needed).",
    ),
    "offset_without_fall": Kind(
        "warning",
        "L_opt does not fall with C, so that it has no offset.",
        "L_opt: the offset is set to 0, because the values do not fall with C (exponent "
        "{exponent:.3g}).",
    ),
    "offset_stops_fall": Kind(
        "warning",
        "With the best offset L_opt does not fall with C.",
        "L_opt: the offset is set to 0, because the values with one do not fall with C.",
    ),
    "offset_is_zero": Kind(
        "info",
        "The best offset of L_opt is 0.",
        "L_opt: the offset lies on its bound 0: the values show no floor.",
    ),
    "offset_at_lowest": Kind(
        "warning",
        "The best offset of L_opt is the smallest L_opt.",
        "L_opt: the offset {offset:.4g} lies on its bound, the smallest value: the last budgets "
        "show no further fall.",
    ),
    # Predictions
    "extrapolation": Kind(
        "warning",
        "A prediction is asked for at more than ten times the largest budget.",
        phrases.extrapolation,
    ),
    "prediction_beyond_sizes": Kind(
        "info",
        "A predicted N_opt lies beyond the measured sizes.",
        phrases.prediction_beyond_sizes,
    ),
    "resamples_without_law": Kind(
        "warning",
        "More than 1% of the resamples gave no law.",
        "{share:.0%} of the resamples gave no law.",
    ),
    "backtest_missed": Kind(
        "warning",
        "Of the study's own largest budgets, hidden and predicted from the others, fewer lay in "
        "their intervals than chance explains.",
        "Only {n} of {of} {level:.0%} intervals reach the {quantity} that was found where the "
        "largest budgets were hidden and predicted from the others.",
    ),
}  # fmt: skip


def judgement_kinds() -> dict[str, tuple[Severity, str]]:
    """Return each code with its severity and when it is made, for documentation."""
    return {code: (kind.severity, kind.when) for code, kind in KINDS.items()}
