"""The models as an analyst meets them: in an order, by kind, with a sentence and what they cost."""

from __future__ import annotations

from typing import Final

from training.spec import ModelName, Preset
from training.workload import fit_seconds

GROUPS: Final[dict[str, dict[ModelName, str]]] = {
    "Combined": {
        ModelName.ENSEMBLE: "combines all the others, weighted by how they did in backtest; usually the most accurate",
    },
    "Statistical": {
        ModelName.THETA: "extends a smoothed level and half of the trend; hard to beat on short series",
        ModelName.CES: "smooths level and season together; good with seasons of 12 periods and more",
        ModelName.ETS: "smooths level, trend and season, and chooses how they combine",
        ModelName.MSTL: "takes the seasons off first, several at once, then extends what is left",
        ModelName.ARIMA: "learns how a value follows from those before; many variants are tried for each series",
        ModelName.PROPHET: "adds up trend, seasons, holidays and covariates; easy to explain",
    },
    "Machine learning": {
        ModelName.XGBOOST: "boosted trees, one model over all series; learns from covariates and from other series",
    },
    "Intermittent demand (mostly zeros)": {
        ModelName.CROSTON: "size of a demand over the time between demands",
        ModelName.TSB: "the same by the chance of a demand, so that it can fade out",
        ModelName.IMAPA: "averages what it sees at several time scales",
    },
    "Simple yardsticks": {
        ModelName.SEASONAL_NAIVE: "repeats the last season; always fitted, the others are measured against it",
        ModelName.NAIVE: "repeats the last value",
        ModelName.DRIFT: "the last value, moved on by the average change",
        ModelName.HISTORIC_AVERAGE: "the mean of the whole history",
    },
}
ORDER: Final = tuple(model for group in GROUPS.values() for model in group)
"""Every model, as lists offer them: what to think about first comes first."""

YARDSTICKS: Final = frozenset(GROUPS["Simple yardsticks"])

_MONTHS: Final = 120  # of the typical series that cost is told for
_COSTS: Final = ((0.001, "instant"), (0.015, "quick"), (0.1, "moderate"), (float("inf"), "slow"))


def cost(model: ModelName) -> str:
    """What a model costs on a thousand monthly series, relative to the others: ``instant`` to ``slow``."""
    if model is ModelName.ENSEMBLE:
        return "nothing on top of theirs"
    seconds = fit_seconds(model, Preset.BALANCED, n_series=1_000, n_rows=1_000 * _MONTHS) / 1_000
    return next(word for limit, word in _COSTS if seconds < limit)


def help_text() -> str:
    """All models by group, Markdown."""
    return "\n\n".join(
        f"**{title}**\n" + "\n".join(f"- **{model}** {text} ({cost(model)})" for model, text in group.items())
        for title, group in GROUPS.items()
    )
