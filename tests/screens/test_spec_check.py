"""What is said about a configuration before a job is made of it."""

from __future__ import annotations

import pandas as pd
import pytest

from pages.ui.spec_check import DataFacts, Problem, check, spans
from tests.support.results import ROLES
from training.evaluation import plan_windows
from training.frequency import Frequency
from training.spec import Covariate, CovariateKind, DuplicatePolicy, ForecastSpec, ModelName


def facts(lengths: dict[str, int], *, freq: str = "MS", **changes: object) -> DataFacts:
    first = pd.Timestamp("2015-01-01")
    last = {name: Frequency.parse(freq).following(first - pd.Timedelta(days=1), n)[-1] for name, n in lengths.items()}
    fields = {"future_rows": {}, "n_duplicates": 0, "freq": freq} | changes
    return DataFacts(first=pd.Series(dict.fromkeys(lengths, first)), last=pd.Series(last), **fields)


def spec(**changes: object) -> ForecastSpec:
    fields: dict[str, object] = {"roles": ROLES, "freq": "MS", "horizon": 12, "n_windows": 3}
    return ForecastSpec.model_validate(fields | changes)


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


def test_a_configuration_that_fits_has_no_problems() -> None:
    assert check(spec(), facts({"a": 51, "b": 60})) == []


def test_short_series_are_counted_and_named_with_what_would_fit() -> None:
    problem = only(check(spec(), facts({"long": 80, "store 7": 40, "store 9": 50})))
    assert not problem.is_blocking
    assert "2 of 3 series" in problem.text
    assert "needs 51 months" in problem.text
    assert "‘store 7’ (40), ‘store 9’ (50)" in problem.text
    assert "They get fewer windows." in problem.text
    assert "none" not in problem.text


def test_only_the_shortest_series_are_named() -> None:
    problem = only(check(spec(), facts({"long": 80} | {f"s{i}": 40 + i for i in range(9)})))
    assert "‘s2’ (42) and 6 more" in problem.text


def test_series_too_short_for_any_window_are_counted() -> None:
    problem = only(check(spec(), facts({"long": 80, "a": 2, "b": 14, "c": 15})))
    assert "2 with fewer than 15 months get none and are forecast without a score." in problem.text


def test_a_single_window_needs_no_whole_season_before_it() -> None:
    assert check(spec(n_windows=1), facts({"a": 15})) == []
    assert "needs 15 months" in only(check(spec(n_windows=1), facts({"a": 14}))).text


@pytest.mark.parametrize(("length", "windows"), [(15, 1), (27, 1), (38, 1), (39, 2), (50, 2)])
def test_the_windows_that_would_fit_are_those_the_backtest_makes(length: int, windows: int) -> None:
    planned = plan_windows(pd.Series({"a": length}), h=12, step=12, n_windows=3, season_length=12)
    assert len(planned) == windows
    assert f"{windows} window{'s' if windows > 1 else ''} would fit" in only(check(spec(), facts({"a": length}))).text


def test_when_every_series_is_too_short_a_smaller_horizon_is_named() -> None:
    problem = only(check(spec(horizon=40), facts({"a": 40})))
    assert "the longest has 40" in problem.text
    assert "Choose a horizon of 37 or less to compare models." in problem.text


@pytest.mark.parametrize(("known", "said"), [(5, "5 months of the 12"), (0, "none of the 12")])
def test_missing_future_values_block_and_say_how_many_there_are(known: int, said: str) -> None:
    roles = ROLES.model_copy(update={"covariates": (Covariate(name="price", kind=CovariateKind.FUTURE),)})
    problem = only(check(spec(roles=roles), facts({"a": 60}, future_rows={"price": known})))
    assert problem.is_blocking
    assert said in problem.text
    assert ("a horizon of 5 or less" in problem.text) == (known == 5)


def test_future_values_of_finer_data_are_counted_in_periods_of_the_forecast() -> None:
    roles = ROLES.model_copy(update={"covariates": (Covariate(name="price", kind=CovariateKind.FUTURE),)})
    daily = facts({"a": 731}, freq="D", future_rows={"price": 61})  # up to 2 March 2017
    problem = only([p for p in check(spec(roles=roles, horizon=3, n_windows=1), daily) if p.is_blocking])
    assert "has values for 2 months of the 3" in problem.text
    assert "a horizon of 2 or less" in problem.text
    assert not [p for p in check(spec(roles=roles, horizon=2, n_windows=1), daily) if p.is_blocking]


def test_covariates_that_lack_the_same_are_named_together() -> None:
    both = tuple(Covariate(name=name, kind=CovariateKind.FUTURE) for name in ("price", "promo"))
    roles = ROLES.model_copy(update={"covariates": both})
    assert "‘price’, ‘promo’: said to be" in only(check(spec(roles=roles), facts({"a": 60}))).text


def test_past_covariates_need_no_future_values() -> None:
    roles = ROLES.model_copy(update={"covariates": (Covariate(name="price", kind=CovariateKind.PAST),)})
    assert check(spec(roles=roles), facts({"a": 60})) == []


def test_duplicates_block_until_it_is_said_what_to_do_with_them() -> None:
    assert only(check(spec(), facts({"a": 60}, n_duplicates=4))).is_blocking
    assert check(spec(duplicates=DuplicatePolicy.SUM), facts({"a": 60}, n_duplicates=4)) == []


def test_a_forecast_finer_than_the_data_is_refused() -> None:
    problem = only([p for p in check(spec(freq="D", horizon=5, n_windows=1), facts({"a": 60})) if p.is_blocking])
    assert "would need finer data" in problem.text


def test_a_coarser_forecast_says_that_the_data_is_brought_to_it() -> None:
    problem = only(check(spec(freq="QS-JAN", horizon=2, n_windows=2), facts({"a": 60})))
    assert not problem.is_blocking
    assert "quarterly" in problem.text


def test_seasonal_naive_alone_is_pointed_out() -> None:
    assert "could do better" in only(check(spec(models=(ModelName.SEASONAL_NAIVE,)), facts({"a": 60}))).text


def test_yardsticks_alone_are_pointed_out_even_when_combined() -> None:
    models = (ModelName.SEASONAL_NAIVE, ModelName.DRIFT, ModelName.ENSEMBLE)
    assert "Only simple yardsticks are chosen" in only(check(spec(models=models), facts({"a": 60}))).text
    assert check(spec(models=(*models, ModelName.THETA)), facts({"a": 60})) == []


@pytest.mark.parametrize("alias", ["h", "D", "B", "W-MON", "MS", "ME", "QE-DEC", "YS-JAN"])
def test_lengths_are_counted_in_periods_of_the_forecast(alias: str) -> None:
    ds = Frequency.parse(alias).following(pd.Timestamp("2003-02-05"), 60)
    panel = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0})
    first, last = spans(panel)
    counted = DataFacts(first=first, last=last, freq=alias, future_rows={}, n_duplicates=0)
    assert counted.lengths(Frequency.parse(alias))["a"] == pytest.approx(60, abs=1)


def test_rows_that_only_carry_future_covariates_do_not_count_as_history() -> None:
    panel = pd.DataFrame(
        {"unique_id": "a", "ds": pd.date_range("2026-01-01", periods=3, freq="MS"), "y": [1.0, 2.0, None]}
    )
    assert spans(panel)[1]["a"] == pd.Timestamp("2026-02-01")
