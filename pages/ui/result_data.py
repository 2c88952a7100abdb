"""Cached reads of finished runs.

Every function takes opened results: opening them checked that the user may see the job, so the run alone can
be the cache's key. Finished runs do not change; failures are not cached.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pandas as pd
import streamlit as st

from services.leaderboard import Leaderboard
from services.results import JobResults
from services.series_account import Account, account_of

# Named, not given as a class: after a reload of its module the class would be another.
_BY_RUN: Final[dict[str | type, Any]] = {"services.results.JobResults": lambda results: results.run_id}
_cached = partial(st.cache_data, ttl="1h", show_spinner=False, hash_funcs=_BY_RUN)


@_cached(max_entries=64)
def leaderboard(results: JobResults) -> Leaderboard:
    """Models over all series, best first."""
    return results.leaderboard()


@_cached(max_entries=8)
def series(results: JobResults) -> pd.DataFrame:
    """One row per series, the worst first."""
    return results.series()


@_cached(max_entries=256)
def scores(results: JobResults, unique_id: str) -> pd.DataFrame:
    """Scores of every model on one series."""
    return results.scores(unique_id)


@_cached(max_entries=256)
def weights(results: JobResults, unique_id: str) -> pd.DataFrame | None:
    """What the ensemble of one series is made of."""
    return results.weights(unique_id)


@_cached(max_entries=32)
def decomposition(results: JobResults, unique_id: str) -> pd.DataFrame | None:
    """What the history of one series is the sum of."""
    return results.decomposition(unique_id)


@_cached(max_entries=64)
def history(results: JobResults, unique_id: str) -> pd.DataFrame:
    """Prepared history of one series."""
    return results.history(unique_id)


@_cached(max_entries=256)
def forecast(results: JobResults, unique_id: str) -> pd.DataFrame:
    """Forecasts of one series by every model."""
    return results.forecast(unique_id)


@_cached(max_entries=256)
def backtest(results: JobResults, unique_id: str) -> pd.DataFrame:
    """Backtest of one series by every model."""
    return results.backtest(unique_id)


@_cached(max_entries=16)
def importance(results: JobResults) -> pd.DataFrame | None:
    """Feature importances, where a model has them."""
    return results.importance()


@_cached(max_entries=64)
def components(results: JobResults, unique_id: str) -> pd.DataFrame | None:
    """Components of one series' forecasts, for models that have them."""
    return results.components(unique_id)


def account(results: JobResults, unique_id: str) -> Account:
    """Which model one series is forecast by, and what happened to the others; from what is cached already."""
    return account_of(scores(results, unique_id), leaderboard(results), weights(results, unique_id))
