"""A unit's result: every series has its whole horizon or a reason, whatever a model does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.support.engine import bench_of
from tests.support.forecasting import panel_of, seasonal, spec_of
from training.artifacts import ID, MEAN, TARGET, TIME
from training.models import forecaster
from training.models.base import Forecast, Scope, notes
from training.work import frames_of


class Stub:
    """A local model that repeats the last value and goes wrong as it is told to."""

    def __init__(self, spoil=lambda rows: rows, *, poison=None):
        self.spoil = spoil
        self.poison = poison
        self.calls = []

    def forecast(self, history, future, setting, *, explain):
        names = list(history[ID].unique())
        self.calls.append((names, setting, list(history), list(future), explain))
        if self.poison in names:
            raise ValueError(f"{self.poison} is poison")
        last = history.groupby(ID)[TARGET].last()
        rows = future[[ID, TIME]].assign(**{MEAN: future[ID].map(last)})
        parts = rows.assign(component="level", value=rows[MEAN]).drop(columns=MEAN)
        before = history[[ID, TIME]].assign(component="level", value=history[TARGET])
        return Forecast(
            rows=self.spoil(rows), notes=notes(), components=parts if explain else None,
            decomposition=before if explain else None,
        )  # fmt: skip


@pytest.fixture
def stub_of(monkeypatch):
    def use(stub):
        monkeypatch.setattr("training.work.forecaster", lambda name: stub)
        return stub

    return use


def done_of(folder, panel, *, model="Theta", spec=None, **changes):
    bench = bench_of(folder, panel, spec or spec_of(models=(model,), n_windows=1))
    units = [replace(unit, **changes) for unit in bench.of(model)]
    bench.engine.run(units)
    return next(bench.engine.collect(units))


def reasons_of(done):
    return dict(zip(done.forecast.notes[ID], done.forecast.notes["reason"], strict=True))


PANEL = {name: seasonal(40, i) for i, name in enumerate("abcdefg")}


def test_one_series_that_a_library_cannot_take_does_not_take_its_bucket_along(tmp_path, stub_of):
    stub = stub_of(Stub(poison="c"))
    done = done_of(tmp_path, panel_of(PANEL))
    assert reasons_of(done) == {"c": "Theta failed: c is poison"}
    assert set(done.forecast.rows[ID]) == set("abdefg")
    assert len(done.forecast.rows) == 6 * 6
    assert set(done.forecast.components[ID]) == set(done.forecast.decomposition[ID]) == set("abdefg")
    assert len(stub.calls) <= 7


def test_a_failure_over_the_panel_is_everybodys_reason(tmp_path, stub_of):
    stub = stub_of(Stub(poison="c"))
    done = done_of(tmp_path, panel_of(PANEL), model="XGBoost")
    assert reasons_of(done) == dict.fromkeys("abcdefg", "XGBoost failed: c is poison")
    assert len(stub.calls) == 1


def drop_two(rows):
    return rows.drop(index=rows.index[rows[ID] == "b"][:2])


def shift(rows):
    late = rows[TIME] + pd.DateOffset(months=1)
    return rows.assign(**{TIME: rows[TIME].where(rows[ID] != "b", late)})


def add_one(rows):
    return pd.concat([rows, rows[rows[ID] == "b"].tail(1)], ignore_index=True)


def with_value(value):
    return lambda rows: rows.assign(**{MEAN: rows[MEAN].where(rows.index != rows.index[rows[ID] == "b"][3], value)})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (drop_two, "Theta gave 4 of 6 values"),
        (shift, "Theta gave 5 of 6 values"),
        (add_one, "Theta gave 7 of 6 values"),
        (lambda rows: rows[rows[ID] != "b"], "Theta gave no forecast"),
        (with_value(np.nan), "Theta gave a forecast that is not a finite number"),
        (with_value(np.inf), "Theta gave a forecast that is not a finite number"),
        (with_value(1e12), "the forecast reaches 1e+12"),
    ],
)
def test_half_an_answer_is_a_reason_and_no_answer(tmp_path, stub_of, spoil, reason):
    stub_of(Stub(spoil))
    done = done_of(tmp_path, panel_of({name: PANEL[name] for name in "abc"}))
    assert list(reasons_of(done)) == ["b"]
    assert reasons_of(done)["b"].startswith(reason)
    assert set(done.forecast.rows[ID]) == {"a", "c"}
    assert set(done.forecast.components[ID]) == {"a", "c"}


def test_rows_in_any_order_are_taken_and_sorted(tmp_path, stub_of):
    stub_of(
        Stub(lambda rows: pd.concat([rows, rows[:1].assign(unique_id="stranger")]).sample(frac=1.0, random_state=1))
    )
    done = done_of(tmp_path, panel_of(PANEL))
    assert reasons_of(done) == {}
    rows = done.forecast.rows
    pd.testing.assert_frame_equal(rows, rows.sort_values([ID, TIME], ignore_index=True))
    assert set(rows[ID]) == set(PANEL)


def test_a_unit_without_a_covariate_has_a_file_of_its_own_and_never_sees_it(tmp_path, stub_of):
    stub = stub_of(Stub())
    price = {name: np.arange(46.0) for name in PANEL}
    panel = panel_of({name: np.r_[y, np.full(6, np.nan)] for name, y in PANEL.items()}, price=price)
    spec = spec_of(models=("XGBoost",), n_windows=1, covariates={"price": "future"}, holidays_country="US")
    bench = bench_of(tmp_path, panel, spec)
    unit = next(unit for unit in bench.of("XGBoost", backtests=True) if unit.window == 0)
    bare = replace(unit, without=("future_0",))
    assert unit.key == "XGBoost-backtest0-00000"
    assert bare.key.startswith("XGBoost-backtest0-without-")
    assert bare.key != replace(unit, without=("future_1",)).key
    bench.engine.run([unit, bare])
    (_, full, history, future, _), (_, lacking, bare_history, bare_future, _) = stub.calls
    assert full.columns.future == full.columns.linear == ("future_0",)
    assert lacking.columns == replace(
        full.columns, future=(), linear=(), labels={k: v for k, v in full.columns.labels.items() if k != "future_0"}
    )
    assert [c for c in history if c not in bare_history] == [c for c in future if c not in bare_future] == ["future_0"]


def test_a_unit_without_any_of_hundreds_of_columns_has_a_name_that_file_systems_take(tmp_path):
    unit = bench_of(tmp_path, panel_of(PANEL), spec_of(models=("XGBoost",), n_windows=1)).of("XGBoost")[0]
    key = replace(unit, without=tuple(f"future_{i}" for i in range(300))).key
    (tmp_path / f"{key}.decomposition.parquet.{'0' * 32}.part").touch()


def test_without_a_covariate_a_real_model_gives_other_numbers(tmp_path):
    rng = np.random.default_rng(0)
    price = {name: rng.normal(size=46) for name in PANEL}
    ys = {name: np.r_[100 + 20 * price[name][:40], np.full(6, np.nan)] for name in PANEL}
    spec = spec_of(models=("XGBoost",), n_windows=1, covariates={"price": "future"})
    bench = bench_of(tmp_path, panel_of(ys, price=price), spec)
    units = [unit for unit in bench.of("XGBoost", backtests=True) if unit.window == 0]
    bare = [replace(unit, without=("future_0",)) for unit in units]
    bench.engine.run([*units, *bare])
    assert not np.allclose(bench.rows(units)[MEAN], bench.rows(bare)[MEAN])


def test_a_backtest_unit_sees_nothing_after_its_cutoff_and_only_series_that_have_the_window(tmp_path):
    panel = panel_of({**PANEL, "short": seasonal(5)})
    bench = bench_of(tmp_path, panel, spec_of(models=("Theta", "XGBoost"), n_windows=2, horizon=4))
    for unit in bench.units:
        history, future = frames_of(unit, bench.common)
        assert tuple(history[ID].unique()) == tuple(future[ID].unique()) == unit.series
        assert TARGET not in future
        assert (future.groupby(ID).size() == 4).all()
        assert (history.groupby(ID)[TIME].max() < future.groupby(ID)[TIME].min()).all()
        assert len(history) == sum(panel[ID].isin(unit.series)) - (
            0 if unit.window is None else 4 * (unit.window + 1)
        ) * len(unit.series)


def test_a_model_that_writes_into_its_frames_harms_nobody(tmp_path, monkeypatch):
    class Vandal(Stub):
        def forecast(self, history, future, setting, *, explain):
            answer = super().forecast(history, future, setting, explain=explain)
            history[TARGET] = -1.0
            return answer

    monkeypatch.setattr("training.work.forecaster", lambda name: Vandal())
    bench = bench_of(tmp_path, panel_of(PANEL), spec_of(models=("Theta", "CES"), n_windows=1))
    units = [*bench.of("Theta"), *bench.of("CES")]
    bench.engine.run(units)
    one, other = (done.forecast.rows for done in bench.engine.collect(units))
    pd.testing.assert_frame_equal(one, other)


def test_every_family_has_a_scope_and_can_be_imported():
    spec = spec_of(models=("SeasonalNaive", "Theta", "XGBoost"))
    from training.models import scope_of

    assert {scope_of(model) for model in spec.fitted} == set(Scope)
    assert all(forecaster(model).name == model for model in spec.fitted)
