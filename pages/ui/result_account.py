"""How the forecast of the series on screen came about, in sentences."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.ui import result_data
from pages.ui.format import count, escape, percent, sentence
from pages.ui.result_picker import View
from services.results import JobResults
from services.series_account import Account

_NAMED = 4  # members of an ensemble that a sentence names


def account(results: JobResults, view: View) -> None:
    """Say where this series has no forecast or another model's, what it combines, and what failed or stood in."""
    found = result_data.account(results, view.unique_id)
    if not found.model:
        st.error(f"No model could forecast this series. {escape(sentence(found.why))}", icon=":material/error:")
        return
    other = instead(found)
    if other:
        st.warning(other, icon=":material/warning:")
    if found.unscored:
        text = f"**{escape(found.model)}** has no score on this series. {escape(sentence(found.unscored))}"
        st.info(text, icon=":material/info:")
    made_of = combines(found)
    if made_of:
        st.caption(made_of)
    others = _others(found)
    if len(others):
        title = f"What happened to other models here ({count(len(others), 'note')})"
        with st.expander(title, key="results_account", icon=":material/info:"):
            st.dataframe(others, hide_index=True, key="table_account", alt="Models that failed or were simplified here")


def instead(found: Account) -> str:
    """Why a series is not forecast by the model that was meant to, Markdown; empty where it is."""
    texts = []
    if found.instead_of:
        why = escape(sentence(found.why)) or f"{escape(found.instead_of)} has no forecast of this series."
        texts.append(f"Forecast by **{escape(found.model)}**, because {escape(found.instead_of)} could not: {why}")
    if found.stand_in:
        texts.append(f"**{escape(found.stand_in)}** stands in for {escape(found.model)} on this series.")
    return " ".join(texts)


def combines(found: Account) -> str:
    """``Combines Theta 40 %, CES 35 % and 3 more.``; empty where nothing is combined."""
    if not found.members:
        return ""
    names = [f"{escape(model)} {percent(weight, 0)}" for model, weight in found.members[:_NAMED]]
    rest = len(found.members) - len(names)
    if rest:
        names.append(f"{rest} more")
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{escape(found.model)} combines here: {text}. The Explain tab shows all."


def _others(found: Account) -> pd.DataFrame:
    rows = [(model, sentence(reason)) for model, reason in found.failed.items()]
    rows += [(model, f"{variant} stands in.") for model, variant in found.fallbacks.items()]
    return pd.DataFrame(rows, columns=["Model", "Note"])
