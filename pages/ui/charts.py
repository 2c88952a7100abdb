"""Charts of a forecast: functions from frames to Plotly figures, without Streamlit.

Frames have the columns of ``training.artifacts``. Figures hold no timestamps of ours and a fixed number of
traces, so that an unchanged one costs nothing to send again. Legends are below, where a phone has room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from pages.ui.chart_style import NAME_LENGTH, Line, Palette, figure_of, number_format, x_of, y_of
from pages.ui.format import shorten
from training import artifacts

_OUTER_LEVEL: Final = 90  # intervals from here on are drawn fainter than those inside them
_BUTTONS_PX: Final = 30  # height of Plotly's own buttons, which a touch screen shows all the time


def forecast_figure(
    history: pd.DataFrame,
    forecast: pd.DataFrame,
    *,
    models: Sequence[str],
    levels: Sequence[int],
    target: str,
    lines: Mapping[str, Line],
    theme: Palette,
) -> go.Figure:
    """History, a line at the last observation, and the forecasts of ``models``; bands of the first only."""
    fmt = number_format(history[artifacts.TARGET])
    figure = figure_of(theme)
    shown = [model for model in models if model in set(forecast[artifacts.MODEL])]
    for model in shown[:1]:
        rows = forecast[forecast[artifacts.MODEL] == model]
        for level in sorted(levels, reverse=True):
            _band(figure, [rows], level, lines[model].colour, fmt, _bar_width(history))
    figure.add_scatter(
        **x_of(history[artifacts.TIME]),
        y=y_of(history[artifacts.TARGET]),
        name=f"{shorten(target, NAME_LENGTH)} (history)",
        line={"color": theme.actual, "width": 1.8},
        hovertemplate=f"%{{y:{fmt}}}",
    )
    last = history.dropna(subset=[artifacts.TARGET]).tail(1)
    for model in shown:
        rows = forecast[forecast[artifacts.MODEL] == model]
        _bridge(figure, last, rows, lines[model].colour)
        figure.add_scatter(
            **x_of(rows[artifacts.TIME]),
            y=y_of(rows[artifacts.MEAN]),
            name=model,
            mode="lines+markers" if len(rows) <= 36 else "lines",
            line={"color": lines[model].colour, "dash": lines[model].dash, "width": 2.4},
            marker={"size": 5},
            hovertemplate=f"%{{y:{fmt}}}",
        )
    if len(last):
        _vertical(figure, last[artifacts.TIME].iloc[0], theme, "last observation")
    return figure


def backtest_figure(
    history: pd.DataFrame,
    backtest: pd.DataFrame,
    *,
    models: Sequence[str],
    level: int | None,
    target: str,
    lines: Mapping[str, Line],
    theme: Palette,
) -> go.Figure:
    """What each model would have forecast at every cutoff, over what happened; the first model with a band."""
    fmt = number_format(history[artifacts.TARGET])
    figure = figure_of(theme)
    shown = [model for model in models if model in set(backtest[artifacts.MODEL])]
    if shown and level is not None:
        rows = backtest[backtest[artifacts.MODEL] == shown[0]]
        windows = [window for _, window in rows.groupby(artifacts.CUTOFF)]
        _band(figure, windows, level, lines[shown[0]].colour, fmt, _bar_width(history))
    figure.add_scatter(
        **x_of(history[artifacts.TIME]),
        y=y_of(history[artifacts.TARGET]),
        name=f"{shorten(target, NAME_LENGTH)} (actual)",
        line={"color": theme.actual, "width": 1.8},
        hovertemplate=f"%{{y:{fmt}}}",
    )
    for model in shown:
        windows = [w for _, w in backtest[backtest[artifacts.MODEL] == model].groupby(artifacts.CUTOFF)]
        x, y = _with_gaps(windows, artifacts.MEAN)
        figure.add_scatter(
            x=x,
            y=y,
            name=model,
            mode="lines+markers" if len(x) <= 80 else "lines",
            line={"color": lines[model].colour, "dash": lines[model].dash, "width": 2},
            marker={"size": 4},
            hovertemplate=f"%{{y:{fmt}}}",
        )
    for cutoff in sorted(backtest[artifacts.CUTOFF].unique()):
        _vertical(figure, cutoff, theme)
    return figure


def horizon_figure(errors: pd.DataFrame, *, noun: str, lines: Mapping[str, Line], theme: Palette) -> go.Figure:
    """Mean absolute error by how many periods ahead (columns ``model``, ``step``, ``mae``)."""
    fmt = number_format(errors["mae"])
    figure = figure_of(theme, height=340)
    by_model = {str(model): rows for model, rows in errors.groupby(artifacts.MODEL, sort=False, observed=True)}
    for model in sorted(by_model, key=lambda model: list(lines).index(model) if model in lines else len(lines)):
        rows, line = by_model[model], lines.get(model, Line(theme.muted))
        figure.add_scatter(
            x=rows["step"],
            y=y_of(rows["mae"]),
            name=model,
            mode="lines+markers" if len(rows) <= 60 else "lines",
            line={"color": line.colour, "dash": line.dash, "width": 2},
            marker={"size": 5},
            hovertemplate=f"%{{y:{fmt}}}",
        )
    n_steps = int(errors["step"].max()) if len(errors) else 0
    figure.update_xaxes(title_text=f"{noun}s ahead".capitalize(), dtick=1 if n_steps <= 15 else None)
    figure.update_yaxes(title_text="Mean absolute error", rangemode="tozero")
    return figure


def _band(
    figure: go.Figure, windows: Sequence[pd.DataFrame], level: int, colour: str, fmt: str, width: pd.Timedelta
) -> None:
    """One filled trace for all windows, each its own polygon, and an invisible one that tells the bounds.

    The band of a single step, which would have no area, is drawn ``width`` wide.
    """
    low, high = artifacts.lo(level), artifacts.hi(level)
    xs: list[pd.Timestamp | None] = []
    ys: list[float | None] = []
    for window in windows:
        rows = window.dropna(subset=[low, high]) if {low, high} <= set(window.columns) else window.head(0)
        if rows.empty:
            continue
        if xs:
            xs.append(None)
            ys.append(None)
        if len(rows) == 1:
            rows = _short_stretch(rows, width)
        xs += [*rows[artifacts.TIME], *rows[artifacts.TIME][::-1]]
        ys += [*rows[high], *rows[low][::-1]]
    if not xs:
        return
    figure.add_scatter(
        x=xs,
        y=ys,
        fill="toself",
        fillcolor=_rgba(colour, 0.16 if level >= _OUTER_LEVEL else 0.3),
        line={"width": 0},
        name=f"{level} % interval",
        hoverinfo="skip",
        mode="lines",
    )
    if len(windows) == 1:
        rows = windows[0]
        figure.add_scatter(
            **x_of(rows[artifacts.TIME]),
            y=y_of(rows[high]),
            customdata=y_of(rows[low]),
            name=f"{level} %",
            line={"width": 0, "color": _rgba(colour, 0.5)},
            mode="lines",
            showlegend=False,
            hovertemplate=f"%{{customdata:{fmt}}} to %{{y:{fmt}}}",
        )


def _bar_width(history: pd.DataFrame) -> pd.Timedelta:
    """Half of the usual step of a history, or half a day where it has none."""
    step = history[artifacts.TIME].diff().median()
    return (pd.Timedelta(days=1) if pd.isna(step) else step) / 2


def _short_stretch(row: pd.DataFrame, width: pd.Timedelta) -> pd.DataFrame:
    """A single row as two, ``width`` apart around it."""
    around = pd.concat([row, row])
    around[artifacts.TIME] += pd.TimedeltaIndex([-width / 2, width / 2])
    return around


def _bridge(figure: go.Figure, last: pd.DataFrame, rows: pd.DataFrame, colour: str) -> None:
    """A thin dotted line from the last observation to the first forecast, which is no data and says nothing."""
    if last.empty or rows.empty:
        return
    figure.add_scatter(
        x=[last[artifacts.TIME].iloc[0], rows[artifacts.TIME].iloc[0]],
        y=[last[artifacts.TARGET].iloc[0], rows[artifacts.MEAN].iloc[0]],
        mode="lines",
        line={"color": colour, "width": 1.2, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )


def _vertical(figure: go.Figure, at: pd.Timestamp, theme: Palette, text: str = "") -> None:
    # add_vline() with an annotation averages the axis values, which fails for timestamps; hence two calls.
    figure.add_shape(
        type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", line={"color": theme.muted, "width": 1.2, "dash": "dash"}
    )
    if text:
        figure.add_annotation(
            x=at, y=1, yref="paper", xanchor="right", yanchor="bottom", text=text, showarrow=False,
            font={"size": 12, "color": theme.muted},
        )  # fmt: skip
        figure.update_layout(margin={"t": _BUTTONS_PX + 24})  # the text is below them


def _with_gaps(windows: Sequence[pd.DataFrame], column: str) -> tuple[list[Any], list[Any]]:
    """The windows one after the other, broken apart so that no line joins them."""
    xs: list[Any] = []
    ys: list[Any] = []
    for window in windows:
        if xs:
            xs.append(None)
            ys.append(None)
        xs += list(window[artifacts.TIME])
        ys += list(window[column])
    return xs, ys


def _rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
