"""The preview chart: a few series as they are in the file."""

from __future__ import annotations

import html
from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pages.ui.chart_style import Palette
from pages.ui.format import shorten
from training.artifacts import ID, TARGET, TIME

_MAX_POINTS: Final = 4_000
_NAME_LENGTH: Final = 32


def series_figure(panel: pd.DataFrame, *, target: str, theme: Palette) -> go.Figure:
    """One line per series of a small panel, broken where the target is empty; long series keep their extremes."""
    figure = go.Figure()
    for position, (name, rows) in enumerate(panel.groupby(ID, sort=False)):
        drawn = _thinned(rows)
        figure.add_scatter(
            x=drawn[TIME],
            y=drawn[TARGET],
            name=html.escape(shorten(str(name), _NAME_LENGTH)),  # plotly reads tags in names
            mode="lines" if len(drawn) > 1 else "markers",
            line={"width": 1.5, "color": theme.series[position % len(theme.series)]},
        )
    figure.update_layout(
        height=340,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        hovermode="x",
        showlegend=panel[ID].nunique() > 1,
        legend={"orientation": "h", "yanchor": "top", "y": -0.12, "x": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_xaxes(showgrid=False, automargin=True)
    title = html.escape(shorten(target, _NAME_LENGTH))
    figure.update_yaxes(gridcolor=theme.grid, zeroline=False, automargin=True, title={"text": title})
    return figure


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """A long series as the lowest and the highest row of each of many short stretches."""
    if len(rows) <= _MAX_POINTS:
        return rows
    stretch = pd.Series(np.arange(len(rows)) * (_MAX_POINTS // 2) // len(rows), index=rows.index)
    groups = rows[TARGET].dropna().groupby(stretch)
    return rows.loc[sorted({*groups.idxmin(), *groups.idxmax()})]
