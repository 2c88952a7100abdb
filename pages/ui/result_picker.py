"""Which series and models the charts show; kept in the URL, so that a link shows the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd
import streamlit as st

from pages.ui import result_data
from pages.ui.chart_style import Line, Palette, palette
from pages.ui.format import count
from services.results import JobResults
from training import artifacts
from training.spec import ColumnRoles, ModelName

MAX_LINES: Final = 8  # models in one chart that can be told apart
MAX_OPTIONS: Final = 2_000  # more are found by searching; all of 100,000 would be sent to the browser


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the reader chose.

    Attributes:
        models: to draw, the first with its intervals.
        selected: the model whose forecast is the series' forecast; empty when every model failed.
        everything: the whole history rather than its recent part.
        ranked: all models, best first.
        lines: how each is drawn.
    """

    unique_id: str
    models: tuple[str, ...]
    selected: str
    everything: bool
    ranked: tuple[str, ...]
    lines: dict[str, Line]
    theme: Palette


def picker(results: JobResults) -> View:
    """The controls above the tabs."""
    table = result_data.series(results)
    ids = sorted(table[artifacts.ID])
    theme = palette(st.context.theme.type)
    ranked = _ranked(results)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        unique_id = _series(ids, results.spec.roles)
        selected = str(table.loc[table[artifacts.ID] == unique_id, artifacts.MODEL].iloc[0])
        # A key of its own per series: its default is that series' selected model.
        models = st.multiselect(
            "Models", ranked, default=_default(ranked, selected), key=f"results_models_{unique_id}", width=340,
            wrap=True, max_selections=MAX_LINES, placeholder="Choose models to draw",
            help="Best in backtest first. The model that this series is forecast by is drawn with its intervals.",
        )  # fmt: skip
        span = st.segmented_control(
            "History", ["Recent", "Everything"], default="Recent", required=True, key="results_span",
            persist_state="session",
        )  # fmt: skip
    chosen = sorted(models, key=lambda model: model != selected)
    return View(
        unique_id=unique_id,
        models=tuple(chosen or ([selected] if selected else [])),
        selected=selected,
        everything=span == "Everything",
        ranked=tuple(ranked),
        lines=theme.lines(ranked),
        theme=theme,
    )


def recent(history: pd.DataFrame, view: View, *, horizon: int, covered: int = 0) -> pd.DataFrame:
    """The part of a history that a chart shows: all, or enough to see the forecast (and ``covered`` rows) well."""
    return history if view.everything else history.tail(covered + max(5 * horizon, 48))


def _ranked(results: JobResults) -> list[str]:
    """The models that were not left out early, best first: the best have the colours that are easiest to tell apart."""
    board = result_data.leaderboard(results)
    dropped = {entry.model for entry in board.models if entry.dropped}
    models = dict.fromkeys([*(entry.model for entry in board.models), *map(str, results.spec.models)])
    return [model for model in models if model not in dropped]


def _default(ranked: list[str], selected: str) -> list[str]:
    """The series' own model and the yardstick."""
    return [model for model in ranked if model in {selected, ModelName.SEASONAL_NAIVE}]


def with_best(view: View) -> tuple[str, ...]:
    """The chosen models, and the best of the others up to as many as a chart can show apart."""
    return tuple(dict.fromkeys((*view.models, *view.ranked)))[:MAX_LINES]


def _series(ids: list[str], roles: ColumnRoles) -> str:
    help_text = f"{count(len(ids), 'series', 'series')}. Type to search."
    return st.selectbox(
        "Series", _options(ids), key="results_series", help=help_text, width=300, bind="query-params",
        format_func=str if roles.series else lambda _: roles.target,
    )  # fmt: skip


def _options(ids: list[str]) -> list[str]:
    """All series, or of very many the first that match a search, and the one a link or a click asked for."""
    if len(ids) <= MAX_OPTIONS:
        return ids
    text = st.text_input(
        "Find series", key="results_search", placeholder="Part of its name", icon=":material/search:", width=220,
        help=f"The list beside holds {MAX_OPTIONS:,} of {len(ids):,} series; search for the others.",
    )  # fmt: skip
    matching = [name for name in ids if text.casefold() in name.casefold()]
    if not matching:
        st.caption("No series has this in its name.")
    options = (matching or ids)[:MAX_OPTIONS]
    asked = st.session_state.get("results_series") or st.query_params.get("results_series")
    if not text and asked not in options and asked in set(ids):
        return [asked, *options]
    return options
