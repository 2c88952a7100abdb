"""How the forecast of one series came about: the model that made it, and those that could not."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from services.leaderboard import Leaderboard
from training.artifacts import FALLBACK, MODEL, REASON, SELECTED
from training.spec import ModelName, Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Which model a series is forecast by, and what happened to the others.

    Attributes:
        model: whose forecast is used; empty when every model failed.
        instead_of: the model of all series, where this one had to be forecast by another; else empty.
        why: the reason for that, or of the failure when no model has a forecast.
        unscored: why ``model`` has no score on this series; else empty.
        stand_in: the simpler variant that stood in for ``model`` itself; else empty.
        failed: reason by model, of the other models that failed here, in the backtest or altogether; without those
            that lack a score for the same reason as ``model``, or that the run left out early for all series.
        fallbacks: variant that stood in, by model, of all other models.
        members: model and weight of what ``model`` combines, the weightiest first; empty when it is no ensemble.
    """

    model: str
    instead_of: str = ""
    why: str = ""
    unscored: str = ""
    stand_in: str = ""
    failed: dict[str, str]
    fallbacks: dict[str, str]
    members: tuple[tuple[str, float], ...] = ()


def account_of(scores: pd.DataFrame, board: Leaderboard, weights: pd.DataFrame | None) -> Account:
    """The account of a series.

    Args:
        scores: its rows of ``scores.parquet``.
        board: of its run.
        weights: its rows of ``weights.parquet``, the weightiest first; ``None`` in a run without an ensemble.
    """
    used = scores.loc[scores[SELECTED].astype(bool), MODEL]
    model = str(used.iloc[0]) if len(used) else ""
    reasons, variants = _texts(scores, REASON), _texts(scores, FALLBACK)
    meant = board.winner if board.selection == Selection.OVERALL else None
    is_other = bool(model and meant and meant != model)
    unscored = reasons.get(model, "")
    told = {model, meant if is_other else "", *(entry.model for entry in board.models if entry.dropped)}
    members: tuple[tuple[str, float], ...] = ()
    if model == ModelName.ENSEMBLE and weights is not None:
        members = tuple((str(m), float(w)) for m, w in zip(weights[MODEL], weights["weight"], strict=True) if w > 0)
    return Account(
        model=model,
        instead_of=str(meant) if is_other else "",
        why=reasons.get(str(meant), "") if is_other else "" if model else next(iter(reasons.values()), ""),
        stand_in=variants.pop(model, ""),
        unscored=unscored,
        failed={name: reason for name, reason in reasons.items() if name not in told and reason != unscored},
        fallbacks=variants,
        members=members,
    )


def _texts(scores: pd.DataFrame, column: str) -> dict[str, str]:
    """By model, what a text column says; models about which it says nothing are left out."""
    return {
        str(model): str(text)
        for model, text in zip(scores[MODEL], scores[column].astype(object).fillna(""), strict=True)
        if text
    }
