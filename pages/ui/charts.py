"""Charts of a forecast: functions from frames to Plotly figures, without Streamlit.

Frames have the columns of ``training.artifacts``. Figures hold no timestamps of ours and a fixed number of
traces, so that an unchanged one costs nothing to send again. Legends are below, where a phone has room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.format import metric_text, score, shorten
from services.results import ModelEntry
from training import artifacts
from training.spec import ModelName

_MAX_COMPONENTS: Final = 8
_MAX_FEATURES: Final = 15
_NAME_LENGTH: Final = 28
_OUTER_LEVEL: Final = 90  # intervals from here on are drawn fainter than those inside them


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one appearance. ``series`` are given to models in order; the yardstick stays grey."""

    actual: str
    muted: str
    grid: str
    series: tuple[str, ...]

    def of_models(self, models: Sequence[str]) -> dict[str, str]:
        """One colour per model, the same on every chart of a job."""
        others = [model for model in models if model != ModelName.SEASONAL_NAIVE]
        colours = {model: self.series[i % len(self.series)] for i, model in enumerate(others)}
        return {ModelName.SEASONAL_NAIVE: self.muted, **colours}


# The categorical colours of .streamlit/config.toml. The lines also stay readable on the other background, since a
# browser's appearance is not known on the very first run.
LIGHT: Final = Palette(
    actual="#3d4955", muted="#7d8894", grid="rgba(93,103,113,0.18)",
    series=("#0072b2", "#c65102", "#00815f", "#b0588f", "#8a6d00", "#2f8fc4"),
)  # fmt: skip
DARK: Final = Palette(
    actual="#c3ccd4", muted="#8d99a5", grid="rgba(154,167,179,0.2)",
    series=("#56b4e9", "#e69f00", "#2fc198", "#dd8fbf", "#f0e442", "#4f8fe0"),
)  # fmt: skip


def palette(appearance: str | None) -> Palette:
    """The palette of an appearance, ``light`` or ``dark``."""
    return DARK if appearance == "dark" else LIGHT


def forecast_figure(
    history: pd.DataFrame,
    forecast: pd.DataFrame,
    *,
    models: Sequence[str],
    levels: Sequence[int],
    target: str,
    colours: Mapping[str, str],
    theme: Palette,
) -> go.Figure:
    """History, a line at the last observation, and the forecasts of ``models``; bands of the first only."""
    fmt = _number_format(history[artifacts.TARGET])
    figure = _figure(theme)
    shown = [model for model in models if model in set(forecast[artifacts.MODEL])]
    for model in shown[:1]:
        rows = forecast[forecast[artifacts.MODEL] == model]
        for level in sorted(levels, reverse=True):
            _band(figure, [rows], level, colours[model], fmt, _bar_width(history))
    figure.add_scatter(
        **_x(history[artifacts.TIME]),
        y=_y(history[artifacts.TARGET]),
        name=f"{shorten(target, _NAME_LENGTH)} (history)",
        line={"color": theme.actual, "width": 1.8},
        hovertemplate=f"%{{y:{fmt}}}",
    )
    last = history.dropna(subset=[artifacts.TARGET]).tail(1)
    for model in shown:
        rows = forecast[forecast[artifacts.MODEL] == model]
        _bridge(figure, last, rows, colours[model])
        figure.add_scatter(
            **_x(rows[artifacts.TIME]),
            y=_y(rows[artifacts.MEAN]),
            name=model,
            mode="lines+markers" if len(rows) <= 36 else "lines",
            line={"color": colours[model], "width": 2.4},
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
    colours: Mapping[str, str],
    theme: Palette,
) -> go.Figure:
    """What each model would have forecast at every cutoff, over what happened; the first model with a band."""
    fmt = _number_format(history[artifacts.TARGET])
    figure = _figure(theme)
    shown = [model for model in models if model in set(backtest[artifacts.MODEL])]
    if shown and level is not None:
        rows = backtest[backtest[artifacts.MODEL] == shown[0]]
        windows = [window for _, window in rows.groupby(artifacts.CUTOFF)]
        _band(figure, windows, level, colours[shown[0]], fmt, _bar_width(history))
    figure.add_scatter(
        **_x(history[artifacts.TIME]),
        y=_y(history[artifacts.TARGET]),
        name=f"{shorten(target, _NAME_LENGTH)} (actual)",
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
            line={"color": colours[model], "width": 2},
            marker={"size": 4},
            hovertemplate=f"%{{y:{fmt}}}",
        )
    for cutoff in sorted(backtest[artifacts.CUTOFF].unique()):
        _vertical(figure, cutoff, theme)
    return figure


def leaderboard_figure(
    entries: Sequence[ModelEntry], *, metric: str, colours: Mapping[str, str], theme: Palette
) -> go.Figure:
    """One bar per scored model, best on top, with a line at seasonal naive's error."""
    scored = [entry for entry in entries if entry.score is not None]
    figure = _figure(theme, height=90 + 44 * max(1, len(scored)))
    figure.add_bar(
        x=[entry.score for entry in scored],
        y=[entry.model for entry in scored],
        orientation="h",
        marker={"color": [colours.get(entry.model, theme.series[0]) for entry in scored], "cornerradius": 3},
        text=[score(entry.score, metric) for entry in scored],
        textposition="auto",
        hovertemplate="%{y}: %{text}<extra></extra>",
        showlegend=False,
    )
    naive = next((e.score for e in scored if e.model == ModelName.SEASONAL_NAIVE), None)
    if naive is not None:
        figure.add_vline(x=naive, line={"color": theme.actual, "width": 1.5, "dash": "dot"})
    share = metric in {"wape", "smape", "mape"}
    figure.update_xaxes(title_text=f"{metric_text(metric)}, lower is better", tickformat=".0%" if share else None)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(hovermode="closest", bargap=0.35)


def horizon_figure(errors: pd.DataFrame, *, noun: str, colours: Mapping[str, str], theme: Palette) -> go.Figure:
    """Mean absolute error by how many periods ahead (columns ``model``, ``step``, ``mae``)."""
    fmt = _number_format(errors["mae"])
    figure = _figure(theme, height=340)
    for model, rows in errors.groupby(artifacts.MODEL, sort=False):
        figure.add_scatter(
            x=rows["step"],
            y=_y(rows["mae"]),
            name=str(model),
            mode="lines+markers" if len(rows) <= 60 else "lines",
            line={"color": colours.get(str(model), theme.muted), "width": 2},
            marker={"size": 5},
            hovertemplate=f"%{{y:{fmt}}}",
        )
    n_steps = int(errors["step"].max()) if len(errors) else 0
    figure.update_xaxes(title_text=f"{noun}s ahead".capitalize(), dtick=1 if n_steps <= 15 else None)
    figure.update_yaxes(title_text="Mean absolute error", rangemode="tozero")
    return figure


def importance_figure(importance: pd.DataFrame, *, colour: str, theme: Palette) -> go.Figure:
    """The weightiest features of one model, the weightiest on top."""
    top = importance.nlargest(_MAX_FEATURES, "importance")
    figure = _figure(theme, height=100 + 26 * max(1, len(top)))
    figure.add_bar(
        x=top["importance"],
        y=list(range(len(top))),  # not the names: two long ones may be shortened to the same
        customdata=top["feature"].astype(str),
        orientation="h",
        marker={"color": colour, "cornerradius": 3},
        hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(tickformat=".0%", title_text="Share of the model's importance")
    names = [shorten(str(name), _NAME_LENGTH) for name in top["feature"]]
    figure.update_yaxes(autorange="reversed", showgrid=False, tickvals=list(range(len(top))), ticktext=names)
    return figure.update_layout(hovermode="closest", bargap=0.3)


def components_figure(components: pd.DataFrame, *, colour: str, theme: Palette) -> go.Figure:
    """What one model's forecast is the sum of: the sum on top, then each component on a scale of its own.

    Components that are zero throughout are left out. Past eight the smallest are added up as ``other``, so that
    the rows still sum to the forecast.
    """
    wide = components.pivot_table(
        index=artifacts.TIME, columns="component", values="value", aggfunc="sum", observed=True
    )
    sizes = wide.abs().max()
    order = list(sizes[sizes > 0].sort_values(ascending=False).index)
    shown = wide[order[:_MAX_COMPONENTS]].copy()
    if len(order) > _MAX_COMPONENTS:
        shown["other"] = wide[order[_MAX_COMPONENTS:]].sum(axis="columns")
    shown.insert(0, "forecast", wide.sum(axis="columns"), allow_duplicates=True)
    figure = make_subplots(rows=shown.shape[1], cols=1, shared_xaxes=True, vertical_spacing=0.02)
    for row, name in enumerate(shown.columns, start=1):
        values = shown.iloc[:, row - 1]
        figure.add_scatter(
            x=shown.index,
            y=_y(values),
            name=str(name),
            line={"color": theme.actual if row == 1 else colour, "width": 2},
            hovertemplate=f"%{{y:{_number_format(values)}}}",
            row=row,
            col=1,
        )
        figure.update_yaxes(title_text=shorten(str(name), _NAME_LENGTH // 2), nticks=4, row=row, col=1)
    return _styled(figure, theme, height=60 + 110 * shown.shape[1]).update_layout(showlegend=False, margin={"b": 24})


def _figure(theme: Palette, *, height: int = 420) -> go.Figure:
    return _styled(go.Figure(), theme, height=height)


def _styled(figure: go.Figure, theme: Palette, *, height: int) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 28, "b": 76},
        hovermode="x unified",
        legend={"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0, "traceorder": "normal"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        separators=".,",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": theme.muted, "activecolor": theme.actual},
    )
    figure.update_xaxes(showgrid=False, automargin=True)
    return figure.update_yaxes(gridcolor=theme.grid, zeroline=False, automargin=True)


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
            **_x(rows[artifacts.TIME]),
            y=_y(rows[high]),
            customdata=_y(rows[low]),
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


def _x(ds: pd.Series) -> dict[str, object]:
    """Timestamps as start and step where they are evenly spaced (a sixth of the bytes), else one by one."""
    if len(ds) > 2:
        steps = np.diff(ds.to_numpy().astype("datetime64[ms]").astype("int64"))
        if steps[0] > 0 and (steps == steps[0]).all():
            return {"x0": ds.iloc[0], "dx": int(steps[0]), "xperiod": 0}
    return {"x": ds}


def _y(values: pd.Series) -> np.ndarray:
    """Values in single precision where seven digits are enough to draw and to read them."""
    array = values.to_numpy(dtype="float64")
    finite = np.abs(array[np.isfinite(array)])
    return array.astype("float32") if finite.size and finite.max() < 1e6 else array


def _number_format(values: pd.Series) -> str:
    """A d3 format with digits that suit the size of the values."""
    largest = float(np.nanmax(np.abs(values.to_numpy(dtype="float64")), initial=0.0))
    if largest >= 1000:
        return ",.0f"
    return ",.2f" if largest >= 10 else ".4~g"


def _rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
