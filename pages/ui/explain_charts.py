"""Charts of what models are worth and made of: functions from values to Plotly figures, without Streamlit."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap
from typing import Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.chart_style import NAME_LENGTH, Line, Palette, figure_of, number_format, styled, y_of
from pages.ui.format import metric_text, percent, score, shorten
from services.leaderboard import ModelEntry
from training import artifacts
from training.spec import ModelName

MAX_POINTS: Final = 2_000  # of a history taken apart, which is as many rows again for each part
_MAX_COMPONENTS: Final = 8
_MAX_FEATURES: Final = 15
_ROUNDING: Final = 1e-9
_ROW: Final = 110  # height of one small chart


def leaderboard_figure(
    entries: Sequence[ModelEntry], *, metric: str, lines: Mapping[str, Line], theme: Palette
) -> go.Figure:
    """One bar per model scored on everything, best on top, with a line at seasonal naive's error.

    Errors beyond three times the yardstick's run out of the chart, or the bars that matter could not be told apart.
    """
    scored = [entry for entry in entries if entry.score is not None and not entry.dropped]
    naive = next((e.score for e in scored if e.model == ModelName.SEASONAL_NAIVE), None)
    widest = 3 * naive if naive and max(e.score or 0.0 for e in scored) > 3 * naive else None
    figure = figure_of(theme, height=90 + (44 if len(scored) <= 6 else 32) * max(1, len(scored)))
    figure.add_bar(
        x=[entry.score for entry in scored],
        y=[entry.model for entry in scored],
        orientation="h",
        marker={"color": [_colour(entry.model, lines, theme) for entry in scored], "cornerradius": 3},
        text=[
            score(entry.score, metric) + (" →" if widest and (entry.score or 0.0) > widest else "") for entry in scored
        ],
        textposition="auto",
        insidetextfont={"color": theme.on_bar},
        insidetextanchor="start",  # where a bar that runs out of the chart still shows it
        hovertemplate="%{y}: %{text}<extra></extra>",
        showlegend=False,
    )
    if naive is not None:
        figure.add_vline(x=naive, line={"color": theme.actual, "width": 1.5, "dash": "dot"})
    if widest:
        figure.update_xaxes(range=[0, widest])
    share = metric in {"wape", "smape", "mape"}
    figure.update_xaxes(title_text=f"{metric_text(metric)}, lower is better", tickformat=".0%" if share else None)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(hovermode="closest", bargap=0.35, margin={"b": 48})


def weights_figure(
    members: Sequence[tuple[str, float]], *, lines: Mapping[str, Line], theme: Palette, title: str = "Weight"
) -> go.Figure:
    """One bar per model that an ensemble is made of, in the order given."""
    figure = figure_of(theme, height=90 + 32 * max(1, len(members)))
    figure.add_bar(
        x=[weight for _, weight in members],
        y=[model for model, _ in members],
        orientation="h",
        marker={"color": [_colour(model, lines, theme) for model, _ in members], "cornerradius": 3},
        text=[percent(weight, 0) for _, weight in members],
        textposition="auto",
        insidetextfont={"color": theme.on_bar},
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title_text=title, tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_layout(hovermode="closest", bargap=0.3, margin={"b": 48})


def importance_figure(importance: pd.DataFrame, *, colour: str, axis: str, theme: Palette) -> go.Figure:
    """The weightiest features of one model, the weightiest on top."""
    top = importance.nlargest(_MAX_FEATURES, "importance")
    names = [_in_lines(str(name)) for name in top["feature"]]
    figure = figure_of(theme, height=100 + (34 if any("<br>" in name for name in names) else 26) * max(1, len(top)))
    figure.add_bar(
        x=top["importance"],
        y=list(range(len(top))),  # not the names: two long ones may be shortened to the same
        customdata=top["feature"].astype(str),
        orientation="h",
        marker={"color": colour, "cornerradius": 3},
        hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(tickformat=".0%", title_text=axis)
    figure.update_yaxes(autorange="reversed", showgrid=False, tickvals=list(range(len(top))), ticktext=names)
    return figure.update_layout(hovermode="closest", bargap=0.3)


def _in_lines(name: str) -> str:
    """A feature's name as plotly's markup: two of them often differ only in the words that an ellipsis would hide."""
    return "<br>".join(html.escape(line) for line in wrap(shorten(name, 2 * NAME_LENGTH - 4), NAME_LENGTH))


def components_figure(components: pd.DataFrame, *, colour: str, theme: Palette) -> go.Figure:
    """What one model's forecast is the sum of: the sum on top, then each component on a scale of its own.

    Components that are zero throughout are left out. Past eight the smallest are added up as ``other``, so that
    the rows still sum to the forecast.
    """
    wide = _wide(components)
    sizes = wide.abs().max()
    order = list(sizes[sizes > 0].sort_values(ascending=False).index)
    shown = wide[order[:_MAX_COMPONENTS]].copy()
    if len(order) > _MAX_COMPONENTS:
        shown["other"] = wide[order[_MAX_COMPONENTS:]].sum(axis="columns")
    shown.insert(0, "forecast", wide.sum(axis="columns"), allow_duplicates=True)
    return _stacked(shown, colour=colour, theme=theme, label=str)


def decomposition_figure(
    parts: pd.DataFrame, *, colour: str, theme: Palette, label: Callable[[str], str] = str
) -> go.Figure:
    """A history and what it is the sum of: trend, seasons from short to long, and what is left.

    Args:
        parts: ``ds, component, value``; of a long history the latest ``MAX_POINTS`` periods are drawn.
        colour: of the parts.
        theme: of the page.
        label: the name of a component for a person.
    """
    wide = _wide(parts).tail(MAX_POINTS)
    order = sorted(wide.columns, key=_place)
    shown = wide[order].copy()
    shown.insert(0, "history", wide.sum(axis="columns"), allow_duplicates=True)
    return _stacked(shown, colour=colour, theme=theme, label=label)


def _wide(parts: pd.DataFrame) -> pd.DataFrame:
    """A column per component; what is rounding beside the largest value is zero."""
    wide = parts.pivot_table(index=artifacts.TIME, columns="component", values="value", aggfunc="sum", observed=True)
    return wide.where(wide.abs() > _ROUNDING * wide.abs().max(axis=None), 0.0)


def _place(component: object) -> tuple[int, float, str]:
    """Where a part of a history belongs: trend, seasons by length, remainder."""
    name = str(component)
    kind, _, length = name.partition(" ")
    if kind == "season":
        return 1, float(length) if length.isdigit() else 0.0, name
    return {"trend": 0, "remainder": 3}.get(name, 2), 0.0, name


def _stacked(shown: pd.DataFrame, *, colour: str, theme: Palette, label: Callable[[str], str]) -> go.Figure:
    """One small chart a column, the first in the colour of what was observed; names above, where a phone has room."""
    names = [label(str(name)) for name in shown.columns]
    n = len(names)
    titles = [html.escape(shorten(name, 2 * NAME_LENGTH)) for name in names]
    figure = make_subplots(
        rows=n, cols=1, shared_xaxes=True, vertical_spacing=0.26 / n if n > 1 else 0.0, subplot_titles=titles
    )
    for row, name in enumerate(names, start=1):
        values = shown.iloc[:, row - 1]
        figure.add_scatter(
            x=shown.index,
            y=y_of(values),
            name=name,
            mode="lines" if len(values) > 1 else "markers",
            line={"color": theme.actual if row == 1 else colour, "width": 1.6},
            hovertemplate=f"%{{y:{number_format(values)}}}",
            row=row,
            col=1,
        )
        figure.update_yaxes(nticks=4, row=row, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 12, "color": theme.muted})
    return styled(figure, theme, height=60 + _ROW * n).update_layout(showlegend=False, margin={"b": 24})


def _colour(model: str, lines: Mapping[str, Line], theme: Palette) -> str:
    return lines[model].colour if model in lines else theme.series[0]
