"""The headline of a finished job: which model, how far off, and whether its intervals hold."""

from __future__ import annotations

import streamlit as st

from pages.ui import links, result_data
from pages.ui.format import count, escape, metric_text, moment, number, percent, score
from pages.ui.session import runtime, timezone
from pages.ui.spec_view import SELECTION_TEXTS
from services.leaderboard import Leaderboard, ModelEntry
from services.results import JobResults
from training.spec import ForecastSpec, ModelName, Selection

_WORTH_SAYING = 0.005  # a smaller difference from seasonal naive is none
_WORTH_CHANGING = 0.02  # a smaller gain from choosing the other way is noise


def header(results: JobResults) -> None:
    """Title, the error in words, and the numbers behind it."""
    job, spec = results.job, results.spec
    board = result_data.leaderboard(results)
    st.page_link(links.JOBS, label="The job", icon=":material/arrow_back:", query_params={"job": job.job_id})
    st.title(escape(job.name))
    finished = moment(job.ended_at, timezone(), now=runtime().clock.now())
    st.caption(f"Dataset: {escape(job.dataset_name)} · {spec.frequency.label} · finished {finished}")
    best = board.best
    if best is None:
        st.warning("No model could be scored in the backtest, so none is recommended. See the Leaderboard for why.")
        return
    worth = board.expected
    st.markdown(headline(best, board, spec))
    if board.is_held_out:
        st.caption(MEASURED)
    if board.why:
        st.caption(f"{escape(board.why)}, so {best.model} is used.")
    for covariate in board.suspicious:
        st.warning(
            f"**{escape(covariate.name)}** may hold the answer itself: it lowers the error by "
            f"{percent(covariate.gain, 0)}. Don't rely on these numbers before you have read about it under Explain.",
            icon=":material/report:",
        )
    better = better_choice(board)
    if better:
        st.info(better, icon=":material/lightbulb:")
    with st.grid(5, min_column_width=150):
        st.metric(
            "Used most" if board.selection == Selection.PER_SERIES and best.n_series > 1 else "Best model",
            best.model, border=True, height="stretch",
        )  # fmt: skip
        st.metric(
            f"Error ({metric_text(board.metric)})", score(worth.score, board.metric), border=True, height="stretch",
            help=METRIC_HELP.get(board.metric),
        )  # fmt: skip
        st.metric(
            "vs seasonal naive",
            against_naive(worth.skill_vs_seasonal_naive),
            border=True,
            height="stretch",
            help="How much smaller (−) or larger (+) the error is than when the last season is repeated.",
        )
        for level in spec.levels:
            st.metric(
                f"{level} % interval holds", percent(worth.coverage.get(str(level))), border=True, height="stretch",
                help=f"Share of backtest observations inside the interval. {level} % is what it promises.",
            )  # fmt: skip


MEASURED = (
    "Measured on backtest windows that took no part in choosing the model of a series, so a little higher than the "
    "errors of the chosen models in the tabs below."
)
METRIC_HELP = {
    "wape": "Sum of absolute errors over the sum of actual values: on average, how far off in percent.",
    "mase": "Mean absolute error in units of the seasonal naive error within the history. Below 1 is better.",
    "rmse": "Root of the mean squared error, in the target's units. Large misses weigh more.",
    "mae": "Mean absolute error, in the target's units.",
    "smape": "Mean of the absolute error over the mean of actual and forecast size.",
}


def headline(best: ModelEntry, board: Leaderboard, spec: ForecastSpec) -> str:
    """How far off the forecasts are, as a sentence, Markdown."""
    worth = board.expected
    is_each = board.selection == Selection.PER_SERIES and best.n_series > 1
    who = "The forecasts are" if is_each else f"{_named(best, board)} is"
    windows = f"{count(board.n_windows, 'backtest')} of {spec.frequency.plural(spec.horizon)}"
    match board.metric:
        case "wape" | "smape":
            text = f"{who} on average **{score(worth.score, board.metric)} off** over {windows}"
        case "mase":
            text = f"{who} off by **{number(worth.score)}** scaled errors (MASE) over {windows}"
        case _:
            text = f"{who} off by **{number(worth.score)}** ({metric_text(board.metric)}) over {windows}"
    skill = worth.skill_vs_seasonal_naive
    if best.model == ModelName.SEASONAL_NAIVE and not is_each:
        text += "; no other model beat repeating the last season"
    elif skill is not None and abs(skill) < _WORTH_SAYING:
        text += "; as good as seasonal naive"
    elif skill is not None:
        text += f"; **{percent(abs(skill), 0)} {'better' if skill > 0 else 'worse'}** than seasonal naive"
    if is_each and best.share_won is not None:
        text += (
            f". Each series uses the model that was best on it; {best.model} is it for "
            f"{percent(best.share_won, 0)} of them"
        )
    elif best.share_won is not None and best.share_won < 1:
        text += (
            f". Where it has no forecast ({percent(1 - best.share_won)} of the series), the next best model that has "
            "one stands in"
        )
    return f"{text}."


def _named(best: ModelEntry, board: Leaderboard) -> str:
    if best.model == ModelName.ENSEMBLE and board.ensemble and board.ensemble.members:
        return f"**{best.model}**, which combines {count(len(board.ensemble.members), 'model')},"
    return f"**{best.model}**"


def better_choice(board: Leaderboard) -> str:
    """A sentence when choosing the other way would have been clearly better; empty when not."""
    mine = board.choices.get(board.selection)
    other = board.choices.get(Selection.OVERALL if board.selection == Selection.PER_SERIES else Selection.PER_SERIES)
    if mine is None or other is None or not mine.score or other.score is None:
        return ""
    gain = 1 - other.score / mine.score
    if gain < _WORTH_CHANGING:
        return ""
    if board.selection == Selection.PER_SERIES:
        which = f" ({board.first.model})" if board.first else ""
        way, change = f"One model for all series{which}", SELECTION_TEXTS[Selection.OVERALL]
    else:
        way, change = "The best model for each series", SELECTION_TEXTS[Selection.PER_SERIES]
    return (
        f"{way} would have been {percent(gain, 0)} better in backtest. To use it, configure the dataset again with "
        f"“{change}” in the field Choose, under Advanced."
    )


def against_naive(skill: float | None) -> str:
    """How much smaller (−) or larger (+) an error is than seasonal naive's."""
    if skill is None:
        return "–"
    if abs(skill) < _WORTH_SAYING:
        return percent(0, 0)
    return f"{'−' if skill > 0 else '+'}{percent(abs(skill), 0)}"
