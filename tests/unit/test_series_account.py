"""How the forecast of one series came about."""

from __future__ import annotations

import pandas as pd

from services.leaderboard import Leaderboard
from services.series_account import Account, account_of


def scores(**rows: tuple[bool, str, str]) -> pd.DataFrame:
    """Model -> selected, reason, fallback."""
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["selected", "reason", "fallback"])
    return table.rename_axis("model").reset_index().assign(unique_id="A")


def account(table: pd.DataFrame, selection: str = "overall", weights: pd.DataFrame | None = None) -> Account:
    return account_of(table, Leaderboard(metric="wape", selection=selection, winner="Ensemble"), weights)


def test_the_model_of_all_series_needs_no_explanation() -> None:
    found = account(scores(Ensemble=(True, "", ""), Theta=(False, "", "")))
    assert found == Account(model="Ensemble", failed={}, fallbacks={})


def test_another_model_than_that_of_all_series_is_explained_by_its_failure() -> None:
    found = account(scores(Ensemble=(False, "too short", ""), Theta=(True, "", ""), CES=(False, "no fit", "")))
    assert (found.model, found.instead_of, found.why) == ("Theta", "Ensemble", "too short")
    assert found.failed == {"CES": "no fit"}


def test_chosen_per_series_no_model_is_in_place_of_another() -> None:
    found = account(scores(Ensemble=(False, "too short", ""), Theta=(True, "", "")), "per_series")
    assert (found.instead_of, found.why, found.failed) == ("", "", {"Ensemble": "too short"})


def test_what_keeps_all_models_of_a_short_series_from_a_score_is_told_once() -> None:
    found = account(scores(Ensemble=(True, "no backtest", ""), CES=(False, "no backtest", ""), Theta=(False, "x", "")))
    assert (found.unscored, found.failed) == ("no backtest", {"Theta": "x"})


def test_a_stand_in_of_the_used_model_is_told_apart_from_those_of_others() -> None:
    found = account(scores(Ensemble=(True, "", "Theta alone"), CES=(False, "", "CES without season")))
    assert (found.stand_in, found.fallbacks) == ("Theta alone", {"CES": "CES without season"})


def test_a_series_without_any_forecast_gives_a_reason() -> None:
    found = account(scores(Ensemble=(False, "", ""), Theta=(False, "too short", "")))
    assert (found.model, found.why) == ("", "too short")


def test_a_model_left_out_early_for_all_series_is_no_news_on_one() -> None:
    board = Leaderboard.model_validate(
        {"metric": "wape", "selection": "overall", "winner": "CES", "models": [{"model": "Theta", "dropped": "slow"}]}
    )
    assert account_of(scores(CES=(True, "", ""), Theta=(False, "slow", "")), board, None).failed == {}


def test_only_an_ensemble_has_members_and_those_without_weight_are_none() -> None:
    weights = pd.DataFrame({"unique_id": "A", "model": ["CES", "Theta"], "weight": [1.0, 0.0]})
    assert account(scores(Ensemble=(True, "", "")), weights=weights).members == (("CES", 1.0),)
    assert account(scores(Theta=(True, "", "")), weights=weights).members == ()
