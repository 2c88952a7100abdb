"""A panel is cut into buckets of about equal cost, each series in one of them, the same on every machine."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.forecasting import panel_of, seasonal, spec_of
from tests.support.models import framed_of
from training.artifacts import ID
from training.buckets import (
    MAX_ROWS,
    MAX_SERIES,
    Bucket,
    cut_buckets,
    is_written,
    read_bucket,
    read_buckets,
    write_bucket,
)
from training.errors import TrainingError
from training.evaluation import plan_windows
from training.spec import ModelName
from training.units import MAX_EXPLAINED_ROWS, plan_units
from training.workload import COSTS


def sizes_of(rows) -> pd.Series:
    return pd.Series(rows, index=pd.Index([f"s{i:06d}" for i in range(len(rows))], name=ID))


SIZES = st.lists(st.one_of(st.integers(1, 5), st.integers(1, 3_000), st.just(400_000)), min_size=1, max_size=1_500)
CHOICES = st.sets(st.sampled_from(["SeasonalNaive", "Theta", "AutoETS", "AutoARIMA", "XGBoost"]), min_size=1)


@settings(max_examples=60, deadline=None)
@given(rows=SIZES, models=CHOICES)
def test_buckets_cover_every_series_once_in_order_and_are_balanced(rows, models):
    spec = spec_of(models=tuple(sorted(models)), n_windows=3)
    buckets = cut_buckets(sizes_of(rows), spec)
    assert [bucket.number for bucket in buckets] == list(range(len(buckets)))
    assert [i for bucket in buckets for i in range(bucket.first, bucket.last)] == list(range(len(rows)))
    costs = np.array([sum(COSTS[m].seconds(1, n) for m in spec.fitted if m is not ModelName.XGBOOST) for n in rows])
    handling = 1e-6 * len([m for m in spec.fitted if m is not ModelName.XGBOOST]) * np.array(rows)
    costs = 4 * (costs + handling)
    for bucket in buckets:
        here = slice(bucket.first, bucket.last)
        n = bucket.last - bucket.first
        assert 1 <= n <= MAX_SERIES
        assert n == 1 or sum(rows[here]) <= 2 * MAX_ROWS
        # A series is in the bucket where the middle of its cost lies, so each end sticks out by half of one at most.
        assert costs[here].sum() <= max(costs.sum() / min(64, len(rows)), 1.0) + costs.max() + 1e-6


@pytest.mark.parametrize(
    ("n", "models", "least", "most"),
    [
        (1, ("Theta",), 1, 1),
        (100, ("SeasonalNaive",), 1, 1),  # a tenth of a second in all: not worth a second process
        (24, ("AutoARIMA",), 6, 24),
        (1_000, ("Theta", "CES"), 15, 64),
        (10_000, ("Theta", "CES"), 40, 100),
        (100_000, ("SeasonalNaive",), 200, 256),
    ],
)
def test_a_bucket_is_worth_a_message_and_never_too_much_to_lose(n, models, least, most):
    assert least <= len(cut_buckets(sizes_of([60] * n), spec_of(models=models, n_windows=3))) <= most


def test_buckets_and_units_do_not_depend_on_the_machine(monkeypatch):
    sizes, spec = sizes_of([60, 70, 80] * 400), spec_of(models=("Theta", "XGBoost"), n_windows=2)
    before = cut_buckets(sizes, spec)
    monkeypatch.setattr(os, "cpu_count", lambda: 96)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(96)), raising=False)
    assert cut_buckets(sizes, spec) == before


def test_units_are_buckets_for_local_models_and_the_panel_for_global_ones():
    sizes, spec = sizes_of([60] * 900 + [5]), spec_of(models=("Theta", "XGBoost"), n_windows=2, horizon=3)
    buckets = cut_buckets(sizes, spec)
    windows = plan_windows(sizes, h=3, step=3, n_windows=2, season_length=12)
    units = plan_units(buckets, sizes, windows, spec)
    assert len({unit.key for unit in units}) == len(units)
    for model in spec.fitted:
        for window, n in ((None, 901), (1, 900), (0, 900)):
            here = [unit for unit in units if (unit.model, unit.window) == (model, window)]
            assert len(here) == (1 if model is ModelName.XGBOOST else len(buckets))
            assert [name for unit in here for name in unit.series] == list(sizes.index[:n])
            assert all(unit.explain is (window is None) for unit in here)
    assert [unit.window for unit in units if unit.model is ModelName.XGBOOST] == [1, 0, None]


def test_forecasts_of_very_large_panels_are_not_taken_apart():
    sizes, spec = sizes_of([MAX_EXPLAINED_ROWS // 2 + 1] * 2), spec_of(models=("Theta",), n_windows=1)
    windows = plan_windows(sizes, h=6, step=6, n_windows=1, season_length=12)
    assert not any(unit.explain for unit in plan_units(cut_buckets(sizes, spec), sizes, windows, spec))


def test_frames_come_back_from_their_files_as_they_were(tmp_path):
    panel = panel_of({f"s{i}": seasonal(40 + i, i) for i in range(4)})
    framed = framed_of(panel, spec_of(holidays_country="US"))
    halves = [(["s0", "s1"], 0), (["s2", "s3"], 1)]
    for names, number in halves:
        parts = [rows[rows[ID].isin(names)].reset_index(drop=True) for rows in (framed.history, framed.future)]
        write_bucket(tmp_path, Bucket(number=number, first=0, last=2), *parts)
        for got, expected in zip(read_bucket(tmp_path, number), parts, strict=True):
            pd.testing.assert_frame_equal(got, expected)
    history, future = read_buckets(tmp_path, (0, 1), without=("month",))
    pd.testing.assert_frame_equal(history, framed.history.drop(columns="month"))
    pd.testing.assert_frame_equal(future, framed.future.drop(columns="month"))
    history.loc[0, "y"] = 1.0  # frames may be written to


@pytest.mark.parametrize("what", ["history", "future"])
def test_a_damaged_bucket_is_named_and_written_again_by_the_next_attempt(tmp_path, what):
    framed = framed_of(panel_of({"a": seasonal(30)}), spec_of())
    bucket = Bucket(number=3, first=0, last=1)
    write_bucket(tmp_path, bucket, framed.history, framed.future)
    (tmp_path / f"00003.{what}.parquet").write_bytes(b"")
    with pytest.raises(TrainingError, match=f"00003.{what}"):
        read_buckets(tmp_path, (3,))
    assert not is_written(tmp_path, bucket)
