"""The Explain tab: what forecasts are made of and go by, each from a model that can truly say."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.ui import explain_charts, result_data
from pages.ui.chart_style import PLOT, Line
from pages.ui.format import escape, number, percent, sentence
from pages.ui.result_picker import View
from services.leaderboard import CovariateEntry, Leaderboard
from services.results import JobResults
from training import artifacts
from training.frequency import Frequency
from training.spec import ModelName

_WORTH_SAYING = 0.005  # a change of the error no larger is none


def explain_tab(results: JobResults, view: View) -> None:
    """Everything that this run can say about its forecasts, first what may invalidate them."""
    board = result_data.leaderboard(results)
    sections = (
        _covariates(board),
        _ensemble(results, board, view),
        _decomposition(results, view),
        _importance(results, board, view),
        _components(results, view),
    )
    if not any(sections):
        st.info("None of these models can truthfully say what its forecast is made of, so nothing is shown here.")


def suspicion(covariate: CovariateEntry) -> str:
    """What a covariate that explains too much may be, and what to do, Markdown."""
    lowers = f"lowers the error by {percent(covariate.gain, 0)}"
    if covariate.gain_together is not None:
        lowers += f", and by {percent(covariate.gain_together, 0)} together with the others"
    return (
        f"**{escape(covariate.name)}** {lowers}, more than something known "
        "beforehand plausibly could. It may hold the answer itself: a column filled in afterwards, or the target "
        "under another name. Then these errors are too good to be true, and real forecasts will be worse. Find out "
        "whether its values were known before each period began. If not, configure the dataset again and set it to "
        "Past only, or leave it out."
    )


def worth(gain: float | None) -> str:
    """What a covariate does to the error: ``4 % less error``."""
    if gain is None:
        return "not measured"
    if abs(gain) <= _WORTH_SAYING:
        return "no difference"
    return f"{percent(abs(gain), 0)} {'less' if gain > 0 else 'more'} error"


def _covariates(board: Leaderboard) -> bool:
    if not board.covariates:
        return False
    st.subheader("What the covariates are worth")
    for covariate in board.suspicious:
        st.warning(suspicion(covariate), icon=":material/report:")
    st.caption(
        "What XGBoost makes of each covariate alone, beside none of them, on the latest backtest window; or what is "
        "made of it as a proportion of last season's value, beside that value itself, if that helps more. Errors are "
        "mean absolute ones in units of each series' naive error. One that makes no difference or adds error can be "
        "left out; two that say the same are worth it once."
    )
    rows = [
        {
            "Covariate": covariate.name,
            "Worth": worth(covariate.gain) + (" (suspicious)" if covariate.is_suspicious else ""),
            "Error with it alone": number(covariate.error_with),
            "Error with none": number(covariate.error_without),
        }
        for covariate in board.covariates
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="table_covariates", alt="Covariates and what each is worth")
    return True


def _ensemble(results: JobResults, board: Leaderboard, view: View) -> bool:
    weights = result_data.weights(results, view.unique_id)
    if weights is None or weights.empty:
        return False
    st.subheader("What the ensemble of this series is made of")
    words = board.ensemble.words if board.ensemble else ""
    st.caption(f"The lower a model's error in backtest, the more it weighs. {escape(sentence(words))}")
    counted = weights[weights["weight"] > 0]
    members = list(zip(counted[artifacts.MODEL].astype(str), counted["weight"].astype(float), strict=True))
    figure = explain_charts.weights_figure(members, lines=view.lines, theme=view.theme)
    st.plotly_chart(figure, key="chart_weights", config=PLOT, alt=f"Weights in the ensemble of {view.unique_id}")
    return True


def _decomposition(results: JobResults, view: View) -> bool:
    parts = result_data.decomposition(results, view.unique_id)
    if parts is None or parts.empty:
        return False
    st.subheader("What the history is the sum of")
    n = parts[artifacts.TIME].nunique()
    latest = f" The latest {explain_charts.MAX_POINTS:,} of {n:,} are shown." if n > explain_charts.MAX_POINTS else ""
    st.caption(f"Taken apart by {ModelName.MSTL}; each part has a scale of its own.{latest}")
    frequency = results.spec.frequency
    figure = explain_charts.decomposition_figure(
        parts,
        colour=view.theme.series[0],
        theme=view.theme,
        label=lambda name: part_label(name, frequency),
    )
    st.plotly_chart(figure, key="chart_decomposition", config=PLOT, alt=f"Trend, seasons, rest of {view.unique_id}")
    return True


def part_label(component: str, frequency: Frequency) -> str:
    """``season 12`` as ``Season of 12 months``, ``remainder`` as ``Remainder``."""
    kind, _, length = component.partition(" ")
    if kind == "season" and length.isdigit():
        return f"Season of {frequency.plural(int(length))}"
    return component[:1].upper() + component[1:]


def _importance(results: JobResults, board: Leaderboard, view: View) -> bool:
    importance = result_data.importance(results)
    if importance is None or importance.empty:
        return False
    for model, rows in importance.groupby(artifacts.MODEL, observed=True):
        st.subheader(f"{model}: what moves its forecasts")
        if board.has_shap:
            axis = "Share of SHAP contributions"
            st.caption(
                "Over all series: how far each feature moves the forecasts on average, up or down, as a share of all "
                "(mean absolute SHAP values). It tells what the model goes by, not what causes what."
            )
        else:
            axis = "Share of the model's importance"
            st.caption("Over all series. A weighty feature is one the model used much, not a cause.")
        figure = explain_charts.importance_figure(
            rows, colour=_line(view, str(model)).colour, axis=axis, theme=view.theme
        )
        st.plotly_chart(figure, key=f"chart_importance_{model}", config=PLOT, alt=f"Importances of {model}")
    return True


def _components(results: JobResults, view: View) -> bool:
    components = result_data.components(results, view.unique_id)
    if components is None or components.empty:
        return False
    for model, rows in components.groupby(artifacts.MODEL, observed=True):
        st.subheader(f"{model}: what the forecast is the sum of")
        figure = explain_charts.components_figure(rows, colour=_line(view, str(model)).colour, theme=view.theme)
        st.plotly_chart(figure, key=f"chart_components_{model}", config=PLOT, alt=f"Components of {model}")
    return True


def _line(view: View, model: str) -> Line:
    return view.lines.get(model, Line(view.theme.series[0]))
