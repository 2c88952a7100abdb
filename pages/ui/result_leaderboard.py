"""The Leaderboard tab: models over all series, what the ensemble is made of, and what was left out early."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.ui import explain_charts, result_data
from pages.ui.chart_style import PLOT
from pages.ui.format import escape, metric_text, number, percent, score, sentence
from pages.ui.result_header import against_naive
from pages.ui.result_picker import View
from services.leaderboard import EnsembleEntry, Leaderboard
from services.results import JobResults


def leaderboard_tab(results: JobResults, view: View) -> None:
    """Models over all series against seasonal naive."""
    board = result_data.leaderboard(results)
    figure = explain_charts.leaderboard_figure(
        board.models, metric=board.metric, lines=view.lines, theme=view.theme
    )  # fmt: skip
    st.plotly_chart(figure, key="chart_leaderboard", config=PLOT, alt="Backtest error by model, best first")
    st.caption("The dotted line is seasonal naive: repeating the last season. A model right of it adds nothing.")
    dropped = [
        f"**{escape(entry.model)}** was left out early. {escape(sentence(entry.dropped))}"
        for entry in board.models
        if entry.dropped
    ]
    if dropped:
        st.info("\n\n".join(dropped), icon=":material/timer_off:")
    st.dataframe(
        table(board, results), hide_index=True, key="table_leaderboard", alt="Models, best first", height="content",
        column_config={
            "Model": st.column_config.TextColumn(pinned=True),
            "Stand-ins": st.column_config.NumberColumn(help="Series on which a simpler variant stood in."),
            "Failed": st.column_config.NumberColumn(help="Series without a score or a forecast."),
            "Note": st.column_config.TextColumn(width="large"),
        },
    )  # fmt: skip
    if board.ensemble and board.ensemble.members:
        _ensemble(board.ensemble, view)


def table(board: Leaderboard, results: JobResults) -> pd.DataFrame:
    """The leaderboard as a table; columns that say nothing of any model are left out."""
    rows = [
        {
            "Model": entry.model,
            "Rank": "–" if entry.dropped or entry.rank is None else str(entry.rank),
            metric_text(board.metric): score(None if entry.dropped else entry.score, board.metric),
            "Against seasonal naive": against_naive(None if entry.dropped else entry.skill_vs_seasonal_naive),
            "Used for": percent(entry.share_won, 0),
            **{
                f"{level} % holds": percent(None if entry.dropped else entry.coverage.get(str(level)))
                for level in results.spec.levels
            },
            "Series": entry.n_series,
            "Stand-ins": entry.n_fallback,
            "Not scored": 0 if entry.dropped else entry.n_unscored,
            "Failed": 0 if entry.dropped else entry.n_failed,
            "Seconds": number(entry.seconds),
            "Note": sentence(entry.dropped or entry.commonest_reason or ""),
        }
        for entry in sorted(board.models, key=lambda entry: bool(entry.dropped))
    ]
    found = pd.DataFrame(rows)
    empty = [name for name in ("Stand-ins", "Not scored", "Failed", "Note") if name in found and not found[name].any()]
    return found.drop(columns=empty)


def _ensemble(ensemble: EnsembleEntry, view: View) -> None:
    st.subheader("What the ensemble is made of")
    if ensemble.words:
        st.caption(escape(sentence(ensemble.words)))
    figure = explain_charts.weights_figure(
        ensemble.members, lines=view.lines, theme=view.theme, title="Mean weight over all series"
    )
    st.plotly_chart(figure, key="chart_ensemble", config=PLOT, alt="Mean weight of each model in the ensemble")
