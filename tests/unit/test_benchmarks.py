"""The benchmark"s own arithmetic, against NumPy and against the literature."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import published, subsets
from benchmarks.metrics import NAIVE2, Accuracy, accuracy, interval_scores
from benchmarks.reference import deseasonalised, is_seasonal, naive2, seasonal_indices
from benchmarks.subsets import Benchmark, Subset, half, sample
from training.artifacts import ID, MEAN, TARGET, TIME, hi, lo

M, H = 4, 3
HALVES = ["B", "B", "B", "A", "B", "A", "A", "B"]
SAMPLE = ["M3:N0006", "M3:N0015", "M3:N0056"]
SUBSET = Subset(name="toy", source="toy", kind="quarterly", h=H, m=M, freq="QS-JAN")


def toy(ys, actuals):
    names = [f"S{i}" for i in range(len(ys))]
    end = pd.Timestamp(2018, 10, 1)
    ahead = pd.date_range(end, periods=H + 1, freq="QS-JAN")[1:]
    history = pd.concat(
        pd.DataFrame({ID: n, TIME: pd.date_range(end=end, periods=len(y), freq="QS-JAN"), TARGET: y})
        for n, y in zip(names, ys, strict=True)
    )
    actual = pd.concat(pd.DataFrame({ID: n, TIME: ahead, TARGET: a}) for n, a in zip(names, actuals, strict=True))
    return Benchmark(
        subset=SUBSET, ids=tuple(names), history=history.reset_index(drop=True), actual=actual.reset_index(drop=True)
    )


@pytest.fixture
def benchmark_of_two():
    rng = np.random.default_rng(0)
    season = np.tile([0.5, 1.0, 1.5, 1.0], 6)
    ys = [100 * season * rng.normal(1, 0.01, 24), rng.normal(50, 5, 9)]
    return toy(ys, [np.array([52.0, 99.0, 160.0]), np.array([48.0, 55.0, 51.0])])


def constant(benchmark, value):
    return benchmark.actual[[ID, TIME]].assign(**{MEAN: value})


def test_smape_mase_and_owa_are_those_of_m4(benchmark_of_two):
    scores = accuracy(benchmark_of_two, {"flat": constant(benchmark_of_two, 60.0)})
    smapes, mases, base_smapes, base_mases = [], [], [], []
    for name in benchmark_of_two.ids:
        y = benchmark_of_two.history.loc[benchmark_of_two.history[ID] == name, TARGET].to_numpy()
        a = benchmark_of_two.actual.loc[benchmark_of_two.actual[ID] == name, TARGET].to_numpy()
        scale = np.mean(np.abs(y[M:] - y[:-M]))
        for forecast, s, m in ((np.full(H, 60.0), smapes, mases), (naive2(y, M, H), base_smapes, base_mases)):
            s.append(np.mean(200 * np.abs(a - forecast) / (np.abs(a) + np.abs(forecast))))
            m.append(np.mean(np.abs(a - forecast)) / scale)
    np.testing.assert_allclose(scores.smape["flat"], smapes)
    np.testing.assert_allclose(scores.mase["flat"], mases)
    np.testing.assert_allclose(scores.smape[NAIVE2], base_smapes)
    owa = (np.mean(smapes) / np.mean(base_smapes) + np.mean(mases) / np.mean(base_mases)) / 2
    assert scores.owa("flat", benchmark_of_two.ids) == pytest.approx(owa)
    assert scores.owa(NAIVE2, benchmark_of_two.ids) == 1.0


def test_a_missing_forecast_is_naive2s_and_counted(benchmark_of_two):
    rows = constant(benchmark_of_two, 60.0).iloc[:H]
    scores = accuracy(benchmark_of_two, {"half": rows})
    assert scores.stood_in == {"half": 1}
    assert scores.smape.loc["S1", "half"] == scores.smape.loc["S1", NAIVE2]


def test_scores_survive_being_stored(benchmark_of_two):
    scores = accuracy(benchmark_of_two, {"flat": constant(benchmark_of_two, 60.0)})
    again = Accuracy.from_json(scores.to_json())
    pd.testing.assert_frame_equal(again.smape, scores.smape, check_names=False, atol=1e-6)
    pd.testing.assert_frame_equal(again.mase, scores.mase, check_names=False, atol=1e-6)


def test_coverage_and_msis_against_numpy(benchmark_of_two):
    bounds = {lo(80): 50.0, hi(80): 55.0, lo(95): 49.0, hi(95): 100.0}
    scores = interval_scores(benchmark_of_two, benchmark_of_two.actual[[ID, TIME]].assign(**bounds))
    for name in benchmark_of_two.ids:
        y = benchmark_of_two.history.loc[benchmark_of_two.history[ID] == name, TARGET].to_numpy()
        a = benchmark_of_two.actual.loc[benchmark_of_two.actual[ID] == name, TARGET].to_numpy()
        assert scores.loc[name, "coverage-80"] == np.mean((a >= 50) & (a <= 55))
        assert scores.loc[name, "coverage-95"] == np.mean((a >= 49) & (a <= 100))
        outside = np.maximum(49 - a, 0) + np.maximum(a - 100, 0)
        msis = np.mean(51 + 2 / 0.05 * outside) / np.mean(np.abs(y[M:] - y[:-M]))
        assert scores.loc[name, "msis"] == pytest.approx(msis)


def test_a_pure_season_is_found_and_taken_out():
    figure = np.array([0.5, 1.0, 1.5, 1.0])
    y = 10 * np.tile(figure, 6)[1:]  # begins in the second phase
    assert is_seasonal(y, M)
    np.testing.assert_allclose(seasonal_indices(y, M), np.roll(figure, -1))
    rest, factors = deseasonalised(y, M, H)
    np.testing.assert_allclose(rest, 10)
    np.testing.assert_allclose(factors, figure[:H])
    np.testing.assert_allclose(naive2(y, M, H), 10 * figure[:H])


def test_without_a_season_or_three_of_them_naive2_is_the_last_value():
    assert not is_seasonal(np.tile([1.0, 2.0, 3.0, 2.0], 3)[:11], M)
    assert not is_seasonal(np.full(40, 7.0), M)
    np.testing.assert_array_equal(naive2(np.array([3.0, 9.0, 4.0]), 1, H), [4.0] * H)


def test_the_seasonality_test_weighs_the_lag_against_those_before_it():
    rng = np.random.default_rng(3)
    walk = rng.normal(size=60).cumsum()
    centred = walk - walk.mean()
    acf = [np.sum(centred[k:] * centred[:-k]) / np.sum(centred**2) for k in range(1, M + 1)]
    limit = 1.645 * np.sqrt((1 + 2 * (acf[0] ** 2 + acf[1] ** 2 + acf[2] ** 2)) / 60)
    assert is_seasonal(walk, M) == (abs(acf[3]) > limit)


def test_halves_and_samples_never_move():
    assert [half(f"M3:N{i:04d}") for i in range(1, 9)] == HALVES
    names = [f"M3:N{i:04d}" for i in range(1, 100)]
    assert sample(names, 3) == sample(names[::-1], 3) == SAMPLE
    assert set(sample(names, 3)) < set(sample(names, 10))


def test_naive2_is_within_a_little_of_the_published_one_on_m3_monthly():
    benchmark = subsets.load("M3-monthly")
    assert len(benchmark.ids) == 1_428
    assert sum(half(name) == "B" for name in benchmark.ids) == 675
    ours = accuracy(benchmark, {}).smape[NAIVE2].mean()
    assert ours == pytest.approx(published.AVERAGES["NAIVE2"]["M3-monthly"], rel=0.012)


def test_published_forecasts_are_read_for_the_series_of_a_subset(tmp_path):
    steps = {str(i): [float(i), float(10 * i)] for i in range(1, 19)}
    rows = {"method": ["THETA", "Other"], "series": ["N0001", "N0001"], **steps}
    pd.DataFrame(rows).to_csv(tmp_path / "theta.csv", index=False)
    benchmark = subsets.load("M3-yearly", 645).only(["M3:N0001", "M3:N0002"])
    found = published.read(tmp_path, benchmark)
    assert list(found) == ["THETA"]
    assert found["THETA"][MEAN].tolist() == [1, 2, 3, 4, 5, 6]
    assert set(found["THETA"][ID]) == {"M3:N0001"}
    assert found["THETA"][TIME].tolist() == benchmark.actual[TIME].tolist()[:6]
