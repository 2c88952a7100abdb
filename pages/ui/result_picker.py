"""Which series and models the charts show; kept in the URL, so that a link shows the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd
import streamlit as st

from pages.ui import charts, result_data
from pages.ui.format import count
from services.results import JobResults
from training import artifacts
from training.spec import ColumnRoles

MAX_OPTIONS: Final = 2_000  # more are found by searching; all of 100,000 would be sent to the browser


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the reader chose.

    Attributes:
        models: to draw, the first with its intervals.
        selected: the model whose forecast is the series' forecast; empty when every model failed.
        everything: the whole history rather than its recent part.
    """

    unique_id: str
    models: tuple[str, ...]
    selected: str
    everything: bool
    colours: dict[str, str]
    theme: charts.Palette


def picker(results: JobResults) -> View:
    """The controls above the tabs."""
    table = result_data.series(results)
    ids = sorted(table[artifacts.ID])
    theme = charts.palette(st.context.theme.type)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        unique_id = _series(ids, results.spec.roles)
        selected = str(table.loc[table[artifacts.ID] == unique_id, artifacts.MODEL].iloc[0])
        # A key of its own per series: its default is that series' selected model.
        models = st.pills(
            "Models", _models(results), selection_mode="multi", default=[selected] if selected else [],
            key=f"results_models_{unique_id}", help="The first chosen is drawn with its intervals.",
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
        colours=theme.of_models(_models(results)),
        theme=theme,
    )


def recent(history: pd.DataFrame, view: View, *, horizon: int, covered: int = 0) -> pd.DataFrame:
    """The part of a history that a chart shows: all, or enough to see the forecast (and ``covered`` rows) well."""
    return history if view.everything else history.tail(covered + max(5 * horizon, 48))


def _models(results: JobResults) -> list[str]:
    return [str(model) for model in results.spec.models]


def _series(ids: list[str], roles: ColumnRoles) -> str:
    help_text = f"{count(len(ids), 'series', 'series')}. Type to search."
    return st.selectbox(
        "Series", _options(ids), key="results_series", help=help_text, width=320, bind="query-params",
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
