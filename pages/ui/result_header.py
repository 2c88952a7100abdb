"""The headline of a finished job: which model, how far off, and whether its intervals hold."""

from __future__ import annotations

import streamlit as st

from pages.ui import links, result_data
from pages.ui.format import count, escape, metric_text, moment, number, percent, score
from pages.ui.session import runtime, timezone
from services.results import JobResults, Leaderboard, ModelEntry
from training.spec import ForecastSpec, ModelName, Selection

_WORTH_SAYING = 0.005  # a smaller difference from seasonal naive is none


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
    st.markdown(headline(best, board, spec))
    with st.grid(5, min_column_width=150):
        st.metric("Best model", best.model, border=True, height="stretch")
        st.metric(
            f"Backtest error ({metric_text(board.metric)})", score(best.score, board.metric), border=True,
            height="stretch", help=METRIC_HELP.get(board.metric),
        )  # fmt: skip
        if best.model != ModelName.SEASONAL_NAIVE:
            st.metric(
                "vs seasonal naive", against_naive(best.skill_vs_seasonal_naive), border=True, height="stretch",
                help="How much smaller (−) or larger (+) the error is than when the last season is repeated.",
            )  # fmt: skip
        for level in spec.levels[:2]:
            st.metric(
                f"{level} % interval holds", percent(best.coverage.get(str(level))), border=True, height="stretch",
                help=f"Share of backtest observations inside the interval. {level} % is what it promises.",
            )  # fmt: skip


METRIC_HELP = {
    "wape": "Sum of absolute errors over the sum of actual values: on average, how far off in percent.",
    "mase": "Mean absolute error in units of the seasonal naive error within the history. Below 1 is better.",
    "rmse": "Root of the mean squared error, in the target's units. Large misses weigh more.",
    "mae": "Mean absolute error, in the target's units.",
    "smape": "Mean of the absolute error over the mean of actual and forecast size.",
}


def headline(best: ModelEntry, board: Leaderboard, spec: ForecastSpec) -> str:
    """The winner's error as a sentence, Markdown."""
    windows = f"{count(spec.n_windows, 'backtest')} of {spec.frequency.plural(spec.horizon)}"
    match board.metric:
        case "wape" | "smape":
            text = f"**{best.model}** is on average **{score(best.score, board.metric)} off** over {windows}"
        case "mase":
            text = f"**{best.model}** has a scaled error (MASE) of **{number(best.score)}** over {windows}"
        case _:
            text = f"**{best.model}** misses by **{number(best.score)}** ({metric_text(board.metric)}) over {windows}"
    skill = best.skill_vs_seasonal_naive
    if best.model == ModelName.SEASONAL_NAIVE:
        text += "; no other model beat repeating the last season"
    elif skill is not None and abs(skill) < _WORTH_SAYING:
        text += "; as good as seasonal naive"
    elif skill is not None:
        text += f"; **{percent(abs(skill), 0)} {'better' if skill > 0 else 'worse'}** than seasonal naive"
    if board.selection == Selection.PER_SERIES and best.share_won is not None and best.n_series > 1:
        text += f". Each series uses its own best model; {best.model} is it for {percent(best.share_won, 0)} of them"
    return f"{text}."


def against_naive(skill: float | None) -> str:
    """How much smaller (−) or larger (+) an error is than seasonal naive's."""
    if skill is None:
        return "–"
    text = percent(abs(skill), 0)
    if text == percent(0, 0):
        return text
    return f"{'−' if skill > 0 else '+'}{text}"
