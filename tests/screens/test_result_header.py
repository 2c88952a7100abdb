"""The headline of a job: what its forecasts are worth, in words."""

from __future__ import annotations

from typing import Any

from pages.ui.result_header import better_choice, headline
from services.leaderboard import Choice, EnsembleEntry, Leaderboard, ModelEntry
from tests.support.results import spec


def board(
    *, selection: str = "per_series", per_series: float = 0.10, overall: float = 0.10, **best: Any
) -> Leaderboard:
    entry = ModelEntry(
        **{"model": "XGBoost", "score": 0.08, "skill_vs_seasonal_naive": 0.5, "share_won": 0.6, "n_series": 5, **best}
    )
    is_each = selection == "per_series"
    return Leaderboard(
        metric="wape",
        selection=selection,
        winner=entry.model,
        n_windows=2,
        expected=Choice(score=per_series, skill_vs_seasonal_naive=0.2)
        if is_each
        else Choice(score=entry.score, skill_vs_seasonal_naive=entry.skill_vs_seasonal_naive),
        is_held_out=is_each,
        models=(entry,),
        choices={
            "per_series": Choice(score=per_series, skill_vs_seasonal_naive=0.2),
            "overall": Choice(score=overall, skill_vs_seasonal_naive=0.1),
        },
    )


def said(of: Leaderboard) -> str:
    assert of.best is not None
    return headline(of.best, of, spec())


def test_the_error_is_that_of_the_chosen_forecasts_not_the_flattering_one_of_the_winner() -> None:
    text = said(board())
    assert "The forecasts are on average **10.0 % off**" in text
    assert "**20 % better** than seasonal naive" in text
    assert "XGBoost is it for 60 % of them" in text
    assert "8.0 %" not in text


def test_one_model_for_all_is_named_with_its_own_error_as_on_the_leaderboard() -> None:
    text = said(board(selection="overall"))
    assert text.startswith("**XGBoost** is on average **8.0 % off**")
    assert "**50 % better** than seasonal naive" in text


def test_seasonal_naive_is_never_said_to_be_worse_than_itself() -> None:
    text = said(board(selection="overall", model="SeasonalNaive", skill_vs_seasonal_naive=0.0))
    assert "no other model beat repeating the last season" in text
    assert "worse" not in text


def test_a_clearly_better_way_to_choose_is_pointed_out() -> None:
    assert "One model for all series (XGBoost) would have been 20 % better" in better_choice(board(overall=0.08))
    assert "The best model for each series would have been 20 % better" in better_choice(
        board(selection="overall", per_series=0.08)
    )


def test_a_difference_within_noise_is_not_pointed_out() -> None:
    assert better_choice(board(overall=0.099)) == ""
    assert better_choice(board(overall=0.2)) == ""


def test_choosing_per_series_is_held_against_the_ensemble_where_that_leads() -> None:
    per_series = board(overall=0.08)
    ensemble = ModelEntry(model="Ensemble", score=0.07, rank=1)
    text = better_choice(per_series.model_copy(update={"models": (ensemble, *per_series.models)}))
    assert text.startswith("One model for all series (Ensemble) would have been 20 % better")


def test_an_ensemble_says_how_many_models_it_combines_and_where_it_could_not() -> None:
    of = board(selection="overall", model="Ensemble", share_won=0.75).model_copy(
        update={"ensemble": EnsembleEntry(weights={"Theta": 0.6, "CES": 0.4, "Prophet": 0.0})}
    )
    assert said(of).startswith("**Ensemble**, which combines 2 models, is on average **8.0 % off**")
    assert "Where it has no forecast (25.0 % of the series), the next best model" in said(of)
    assert "stands in" not in said(board(selection="overall", share_won=1.0))


def test_what_one_model_for_all_would_be_is_the_preferred_one_and_in_older_runs_the_best() -> None:
    entries = (ModelEntry(model="CES", score=0.10), ModelEntry(model="Ensemble", score=0.11))
    new = Leaderboard(metric="wape", selection="overall", winner="Ensemble", preferred="Ensemble", models=entries)
    old = Leaderboard(metric="wape", selection="overall", winner="CES", models=entries)
    assert new.first is entries[1]
    assert old.first is entries[0]
