"""The headline of a job: what its forecasts are worth, in words."""

from __future__ import annotations

from typing import Any

from pages.ui.result_header import better_choice, headline
from services.results import Choice, Leaderboard, ModelEntry
from tests.support.results import spec


def board(
    *, selection: str = "per_series", per_series: float = 0.10, overall: float = 0.10, **best: Any
) -> Leaderboard:
    entry = ModelEntry(
        **{"model": "XGBoost", "score": 0.08, "skill_vs_seasonal_naive": 0.5, "share_won": 0.6, "n_series": 5, **best}
    )
    return Leaderboard(
        metric="wape",
        selection=selection,
        winner=entry.model,
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


def test_one_model_for_all_is_named() -> None:
    assert said(board(selection="overall")).startswith("**XGBoost** is on average **10.0 % off**")


def test_with_one_window_the_winners_own_error_is_all_there_is() -> None:
    single = board().model_copy(update={"choices": {}})
    assert "**8.0 % off**" in said(single)


def test_a_clearly_better_way_to_choose_is_pointed_out() -> None:
    assert "One model for all series would have been 20 % better" in better_choice(board(overall=0.08))
    assert "The best model for each series would have been 20 % better" in better_choice(
        board(selection="overall", per_series=0.08)
    )


def test_a_difference_within_noise_is_not_pointed_out() -> None:
    assert better_choice(board(overall=0.099)) == ""
    assert better_choice(board(overall=0.2)) == ""
