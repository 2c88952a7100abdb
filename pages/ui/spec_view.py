"""A configuration in words, for whoever reads it before or after the run."""

from __future__ import annotations

from typing import Final

from pages.ui.format import about, count, duration, escape, metric_text
from training.spec import (
    Aggregation,
    CovariateKind,
    DuplicatePolicy,
    ForecastSpec,
    GapPolicy,
    IncompletePolicy,
    Preset,
    Selection,
)
from training.workload import Estimate

PRESET_TEXTS: Final = {Preset.FAST: "Fast", Preset.BALANCED: "Balanced", Preset.THOROUGH: "Thorough"}
SELECTION_TEXTS: Final = {
    Selection.PER_SERIES: "The best model of each series",
    Selection.OVERALL: "One model for all series",
}
COVARIATE_TEXTS: Final = {
    CovariateKind.FUTURE: "Known in future",
    CovariateKind.PAST: "Past only",
    CovariateKind.STATIC: "Fixed per series",
}
GAP_TEXTS: Final = {
    GapPolicy.INTERPOLATE: "Interpolate between neighbours",
    GapPolicy.ZERO: "Set to zero",
    GapPolicy.FORWARD: "Repeat the last value",
}
DUPLICATE_TEXTS: Final = {
    DuplicatePolicy.REFUSE: "Refuse the data",
    DuplicatePolicy.SUM: "Add them up",
    DuplicatePolicy.MEAN: "Average them",
    DuplicatePolicy.FIRST: "Keep the first",
    DuplicatePolicy.LAST: "Keep the last",
}
INCOMPLETE_TEXTS: Final = {IncompletePolicy.DROP: "Leave it out", IncompletePolicy.KEEP: "Keep it"}
AGGREGATION_TEXTS: Final = {
    Aggregation.SUM: "Add up",
    Aggregation.MEAN: "Average",
    Aggregation.LAST: "Take the last",
}


_DOMINANT: Final = 0.5  # share of the estimated time from which a model is named as what takes long
_LONG_S: Final = 60.0  # an estimate nobody needs explained is shorter


def models_line(spec: ForecastSpec, work: Estimate | None) -> str:
    """The models in a line, and on this machine the one that takes most of the time where that is long; Markdown."""
    text = f"**{count(len(spec.models), 'model')}**: {', '.join(spec.models)}."
    if work is None:
        return text
    slowest = max(work.by_model, key=lambda model: work.by_model[model])
    seconds = work.by_model[slowest]
    if work.seconds >= _LONG_S and len(spec.models) > 1 and seconds >= _DOMINANT * work.seconds:
        text += f" {slowest} alone takes {about(seconds)}."
    return text


def rows(spec: ForecastSpec) -> dict[str, str]:
    """Label -> value (Markdown) of every choice, the ones that matter most first."""
    frequency = spec.frequency
    roles = spec.roles
    covariates = [f"{escape(c.name)} ({COVARIATE_TEXTS[c.kind].lower()})" for c in roles.covariates]
    backtest = f"{spec.n_windows} × {frequency.plural(spec.horizon)}"
    if spec.n_windows > 1:
        backtest += f", {frequency.plural(spec.step)} apart"
    return {
        "Forecast": f"{escape(roles.target)}, {frequency.plural(spec.horizon)} ahead",
        "Frequency": frequency.label,
        "Series": ", ".join(escape(name) for name in roles.series) or "one series",
        "Covariates": ", ".join(covariates) or "none",
        "Public holidays": spec.holidays_country or "none",
        "Models": ", ".join(spec.models),
        "Preset": PRESET_TEXTS[spec.preset],
        "Backtest": backtest,
        "Selection": f"{SELECTION_TEXTS[spec.selection]}, by {metric_text(spec.metric)}",
        "Intervals": ", ".join(f"{level} %" for level in spec.levels) or "none",
        "Missing timestamps": GAP_TEXTS[spec.gaps],
        "Duplicates": DUPLICATE_TEXTS[spec.duplicates],
        "Incomplete last period": INCOMPLETE_TEXTS[spec.incomplete_last],
        "Finer data": AGGREGATION_TEXTS[spec.aggregation],
        "Non-negative": "yes" if spec.non_negative else "no",
        "Seed": str(spec.seed),
        "Time limit": duration(spec.time_limit_s) if spec.time_limit_s else "none",
    }
