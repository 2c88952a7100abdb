"""The tabs of the Results page. Each reads only what it shows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages.ui import charts, result_data, spec_view
from pages.ui.downloads import downloads
from pages.ui.format import escape, metric_text, number, percent, score, sentence
from pages.ui.result_header import against_naive
from pages.ui.result_picker import MAX_OPTIONS, View, recent
from services.results import JobResults, error_by_step
from training import artifacts
from training.panel import SINGLE_SERIES

_SHARES = ("wape", "mape", "smape", "skill")
_PLOT = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}


def forecast_tab(results: JobResults, view: View) -> None:
    """History and forecast of the series, as a chart and as a table."""
    spec = results.spec
    _failure(results, view)
    history = result_data.history(results, view.unique_id)
    forecast = result_data.forecast(results, view.unique_id)
    figure = charts.forecast_figure(
        recent(history, view, horizon=spec.horizon),
        forecast,
        models=view.models,
        levels=spec.levels,
        target=spec.roles.target,
        colours=view.colours,
        theme=view.theme,
    )
    st.plotly_chart(figure, key="chart_forecast", config=_PLOT, alt=f"History and forecast of {view.unique_id}")
    shown = forecast[forecast[artifacts.MODEL].isin(view.models)]
    with st.expander("Forecast as a table", key="results_forecast_table", icon=":material/table:"):
        st.dataframe(
            results.in_user_words(shown), hide_index=True, key="table_forecast", alt="Forecast rows of this series",
            column_config=_date_column(results),
        )  # fmt: skip
    downloads(results)


def backtest_tab(results: JobResults, view: View) -> None:
    """What the models would have forecast before, beside what happened."""
    spec = results.spec
    backtest = result_data.backtest(results, view.unique_id)
    if backtest.empty:
        st.info("This series was too short for a backtest, so its models were not compared.")
        return
    history = result_data.history(results, view.unique_id)
    st.caption(
        "Dashed lines are cutoffs: each model saw only what is left of one, then forecast what follows. "
        f"The band is the {spec.levels[0]} % interval of the first model."
        if spec.levels
        else "Dashed lines are cutoffs: each model saw only what is left of one, then forecast what follows."
    )
    figure = charts.backtest_figure(
        recent(history, view, horizon=spec.horizon, covered=spec.backtest_rows),
        backtest,
        models=view.models,
        level=spec.levels[0] if spec.levels else None,
        target=spec.roles.target,
        colours=view.colours,
        theme=view.theme,
    )
    st.plotly_chart(figure, key="chart_backtest", config=_PLOT, alt=f"Backtest of {view.unique_id}")
    left, right = st.columns(2)
    with left:
        st.subheader("Error by horizon")
        errors = error_by_step(backtest)
        figure = charts.horizon_figure(errors, noun=spec.frequency.noun, colours=view.colours, theme=view.theme)
        st.plotly_chart(figure, key="chart_horizon", config=_PLOT, alt="Mean absolute error by periods ahead")
    with right:
        st.subheader("Scores of this series")
        table = result_data.scores(results, view.unique_id).drop(columns=artifacts.ID)
        st.dataframe(_percentages(table), hide_index=True, key="table_scores", alt="Scores by model of this series",
                     column_config=_score_columns(results))  # fmt: skip


def leaderboard_tab(results: JobResults, view: View) -> None:
    """Models over all series against seasonal naive."""
    board = result_data.leaderboard(results)
    figure = charts.leaderboard_figure(board.models, metric=board.metric, colours=view.colours, theme=view.theme)
    st.plotly_chart(figure, key="chart_leaderboard", config=_PLOT, alt="Backtest error by model, best first")
    st.caption("The dotted line is seasonal naive: repeating the last season. A model right of it adds nothing.")
    rows = [
        {
            "Rank": entry.rank,
            "Model": entry.model,
            metric_text(board.metric): score(entry.score, board.metric),
            "Against seasonal naive": against_naive(entry.skill_vs_seasonal_naive),
            "Chosen for": percent(entry.share_won, 0),
            **{f"{level} % holds": percent(entry.coverage.get(str(level))) for level in results.spec.levels},
            "Series": entry.n_series,
            "Failed": entry.n_failed,
            "Commonest reason": entry.commonest_reason or "",
            "Seconds": number(entry.seconds),
        }
        for entry in board.models
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="table_leaderboard", alt="Models, best first")


def series_tab(results: JobResults, _view: View) -> None:
    """Every series, the worst first; a click on one shows it."""
    table = result_data.series(results)
    shown_of = f" The worst {MAX_OPTIONS:,} of {len(table):,} are listed." if len(table) > MAX_OPTIONS else ""
    st.caption(f"The worst first. Click a series to see its forecast.{shown_of}")
    table = table.head(MAX_OPTIONS)

    def open_series() -> None:
        click = st.session_state["table_series_open"]
        st.session_state["results_series"] = table[artifacts.ID].iloc[click["row"]]
        st.session_state["results_tabs"] = "Forecast"

    shown = _percentages(table, score_metric=str(results.spec.metric))
    notes = [name for name in (artifacts.REASON, artifacts.FALLBACK) if shown[name].any()]
    first = [artifacts.ID, artifacts.MODEL, "score", "skill", *notes]
    rest = [name for name in shown.columns if name not in {*first, artifacts.REASON, artifacts.FALLBACK}]
    st.dataframe(
        shown, hide_index=True, column_order=[*first, *rest], key="table_series",
        alt="Series by backtest error, the worst first",
        column_config={
            artifacts.ID: st.column_config.ButtonColumn(
                "Series", on_click=open_series, key="table_series_open", type="tertiary", alignment="left",
                width="large", pinned=True,
            ),
            "skill": st.column_config.NumberColumn("Better than seasonal naive by", format="%.0f %%"),
            **_score_columns(results),
        },
    )  # fmt: skip


def explain_tab(results: JobResults, view: View) -> None:
    """What the models go by, for those that can truly say."""
    importance = result_data.importance(results)
    components = result_data.components(results, view.unique_id)
    has_importance = importance is not None and not importance.empty
    has_components = components is not None and not components.empty
    if not has_importance and not has_components:
        st.info("None of these models can truthfully say what its forecast is made of, so nothing is shown here.")
        return
    if importance is not None and has_importance:
        for model, rows in importance.groupby(artifacts.MODEL):
            st.subheader(f"{model}: what it goes by")
            st.caption("Over all series. A weighty feature is one the model used much, not a cause.")
            figure = charts.importance_figure(rows, colour=view.colours[str(model)], theme=view.theme)
            st.plotly_chart(figure, key=f"chart_importance_{model}", config=_PLOT, alt=f"Importances of {model}")
    if components is not None and has_components:
        for model, rows in components.groupby(artifacts.MODEL):
            st.subheader(f"{model}: what the forecast is the sum of")
            figure = charts.components_figure(rows, colour=view.colours[str(model)], theme=view.theme)
            st.plotly_chart(figure, key=f"chart_components_{model}", config=_PLOT, alt=f"Components of {model}")


def details_tab(results: JobResults, _view: View) -> None:
    """The configuration, what was done to the data, and what the run ran on."""
    left, right = st.columns(2)
    with left:
        st.subheader("Configuration")
        st.table(spec_view.rows(results.spec), border="horizontal")
        st.download_button(
            "Download configuration", results.spec.to_json(), file_name="forecast-spec.json", mime="application/json",
            key="results_spec", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
    with right:
        st.subheader("What was done to the data")
        changes = results.profile().get("changes")
        if isinstance(changes, list) and changes:
            for change in changes:
                st.markdown(f"- {escape(_change(change, has_series=bool(results.spec.roles.series)))}")
        else:
            st.caption("Nothing: the data was used as it was.")
        st.subheader("Environment")
        st.json(results.environment(), expanded=1)


def _change(change: dict[str, Any], *, has_series: bool) -> str:
    """``26 missing timestamps, filled by interpolate (Berlin at 2025-02-03, …)``."""
    text = f"{change.get('count', 0):,} {change.get('detail') or change.get('kind')}"
    examples = [str(name) for name in change.get("examples") or ()]
    if not has_series:
        examples = [name.removeprefix(f"{SINGLE_SERIES} at ") for name in examples]
    if not examples:
        return text
    more = ", …" if change.get("count", 0) > len(examples) else ""
    return f"{text} ({', '.join(examples)}{more})"


def _failure(results: JobResults, view: View) -> None:
    """Say so where this series has no forecast, or another model's."""
    table = result_data.series(results)
    row = table[table[artifacts.ID] == view.unique_id].iloc[0]
    reason = escape(sentence(row[artifacts.REASON]))
    if not view.selected:
        st.error(f"No model could forecast this series. {reason}", icon=":material/error:")
    elif row[artifacts.FALLBACK]:
        stand_in = escape(str(row[artifacts.FALLBACK]))
        st.warning(f"{stand_in} stands in for this series. {reason}", icon=":material/warning:")


def _percentages(table: pd.DataFrame, *, score_metric: str = "") -> pd.DataFrame:
    """Shares as percent, as ``NumberColumn`` formats them."""
    shown = table.copy()
    for name in shown.columns:
        if name in _SHARES or name.startswith("coverage-") or (name == "score" and score_metric in _SHARES):
            shown[name] = 100 * shown[name]
    return shown


def _score_columns(results: JobResults) -> dict[str, Any]:
    spec = results.spec
    in_percent = str(spec.metric) in _SHARES
    columns: dict[str, Any] = {
        name: st.column_config.NumberColumn(metric_text(name), format="%.1f %%" if name in _SHARES else "%.4g")
        for name in artifacts.METRICS
    }
    columns["score"] = st.column_config.NumberColumn(
        metric_text(spec.metric), format="%.1f %%" if in_percent else "%.4g"
    )
    for level in spec.levels:
        columns[artifacts.coverage(level)] = st.column_config.NumberColumn(f"{level} % holds", format="%.0f %%")
    columns[artifacts.MODEL] = "Model"
    columns[artifacts.SELECTED] = "Selected"
    columns[artifacts.REASON] = "Reason"
    columns[artifacts.FALLBACK] = "Stands in"
    return columns


def _date_column(results: JobResults) -> dict[str, Any]:
    spec = results.spec
    has_time = spec.frequency.rule in {"h", "min"} or spec.frequency.rule.endswith(("h", "min"))
    return {spec.roles.time: st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm" if has_time else "YYYY-MM-DD")}
