"""The tabs of the Results page. Each reads only what it shows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages.ui import charts, result_data, spec_view
from pages.ui.chart_style import PLOT
from pages.ui.downloads import downloads
from pages.ui.format import escape, metric_text
from pages.ui.result_account import account
from pages.ui.result_picker import MAX_OPTIONS, View, recent, with_best
from services.results import JobResults, error_by_step
from training import artifacts
from training.panel import SINGLE_SERIES

_SHARES = ("wape", "mape", "smape", "skill")


def forecast_tab(results: JobResults, view: View) -> None:
    """History and forecast of the series, as a chart and as a table."""
    spec = results.spec
    account(results, view)
    history = result_data.history(results, view.unique_id)
    forecast = result_data.forecast(results, view.unique_id)
    figure = charts.forecast_figure(
        recent(history, view, horizon=spec.horizon),
        forecast,
        models=view.models,
        levels=spec.levels,
        target=spec.roles.target,
        lines=view.lines,
        theme=view.theme,
    )
    st.plotly_chart(figure, key="chart_forecast", config=PLOT, alt=f"History and forecast of {view.unique_id}")
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
        lines=view.lines,
        theme=view.theme,
    )
    st.plotly_chart(figure, key="chart_backtest", config=PLOT, alt=f"Backtest of {view.unique_id}")
    left, right = st.columns(2)
    with left:
        st.subheader("Error by horizon")
        shown = with_best(view)
        errors = error_by_step(backtest[backtest[artifacts.MODEL].isin(shown)])
        figure = charts.horizon_figure(errors, noun=spec.frequency.noun, lines=view.lines, theme=view.theme)
        st.plotly_chart(figure, key="chart_horizon", config=PLOT, alt="Mean absolute error by periods ahead")
        if len(shown) < len(view.ranked):
            st.caption(f"The {len(shown)} chosen or best of {len(view.ranked)} models. Choose others under Models.")
    with right:
        st.subheader("Scores of this series")
        table = _best_first(result_data.scores(results, view.unique_id), str(spec.metric))
        st.dataframe(_percentages(table), hide_index=True, key="table_scores", alt="Scores by model of this series",
                     column_config=_score_columns(results))  # fmt: skip


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


def _best_first(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Scores of a series without what is the same or empty for every model."""
    empty = [
        name for name in (artifacts.REASON, artifacts.FALLBACK) if not scores[name].astype(object).fillna("").any()
    ]
    return scores.drop(columns=[artifacts.ID, *empty]).sort_values(metric, kind="stable", ignore_index=True)


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
