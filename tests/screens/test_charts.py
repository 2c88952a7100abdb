"""Charts as figures: what they show, without a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pages.ui import charts, explain_charts
from pages.ui.chart_style import DARK, LIGHT, Palette
from services.leaderboard import ModelEntry
from services.results import error_by_step
from tests.support.results import MODELS, spec, write_run
from training import artifacts as a
from training.spec import ModelName

LINES = LIGHT.lines(MODELS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run1"
    write_run(folder, spec())
    return folder


def frame(run: Path, artifact: str) -> pd.DataFrame:
    rows = pd.read_parquet(run / artifact)
    return rows[rows[a.ID] == "North / Tea"].reset_index(drop=True)


def named(figure: charts.go.Figure, name: str) -> object:
    return next(trace for trace in figure.data if trace.name == name)


def forecast_figure(run: Path, **changes: object) -> charts.go.Figure:
    fields = {
        "models": ["XGBoost"], "levels": (80, 95), "target": "revenue", "lines": LINES, "theme": LIGHT,
    }  # fmt: skip
    return charts.forecast_figure(frame(run, a.HISTORY), frame(run, a.FORECAST), **(fields | changes))


def test_the_wider_interval_is_drawn_behind_the_narrower(run: Path) -> None:
    names = [trace.name for trace in forecast_figure(run).data]
    assert names.index("95 % interval") < names.index("80 % interval") < names.index("XGBoost")


def test_a_line_marks_the_last_observation(run: Path) -> None:
    figure = forecast_figure(run)
    assert figure.layout.shapes[0].x0 == frame(run, a.HISTORY)[a.TIME].iloc[-1]
    assert figure.layout.annotations[0].text == "last observation"
    assert figure.layout.margin.t > 50  # below the buttons, which a touch screen shows all the time


def test_only_the_first_of_several_models_has_intervals(run: Path) -> None:
    figure = forecast_figure(run, models=["Prophet", "XGBoost"])
    bands = [trace for trace in figure.data if trace.name == "80 % interval"]
    mean = frame(run, a.FORECAST).query("model == 'Prophet'")
    assert len(bands) == 1
    assert max(bands[0].y) == pytest.approx(mean[a.hi(80)].max())


def test_the_interval_of_a_single_step_has_a_width(run: Path) -> None:
    one = frame(run, a.FORECAST).groupby(a.MODEL).head(1)
    figure = charts.forecast_figure(
        frame(run, a.HISTORY), one, models=["XGBoost"], levels=(80,), target="y", lines=LINES, theme=LIGHT
    )
    band = named(figure, "80 % interval")
    row = one.query("model == 'XGBoost'").iloc[0]
    assert min(band.x) < row[a.TIME] < max(band.x)
    assert (min(band.y), max(band.y)) == (row[a.lo(80)], row[a.hi(80)])


def test_backtest_windows_of_a_single_step_have_bands(run: Path) -> None:
    first = frame(run, a.BACKTEST).groupby([a.MODEL, a.CUTOFF]).head(1)
    figure = charts.backtest_figure(
        frame(run, a.HISTORY), first, models=["XGBoost"], level=80, target="y", lines=LINES, theme=LIGHT
    )
    xs = [x for x in named(figure, "80 % interval").x if x is not None]
    assert len(set(xs)) == 2 * spec().n_windows


def test_a_model_without_a_forecast_for_this_series_is_left_out(run: Path) -> None:
    rows = frame(run, a.FORECAST).query("model != 'Prophet'")
    figure = charts.forecast_figure(
        frame(run, a.HISTORY), rows, models=["Prophet", "XGBoost"], levels=(80,), target="y", lines=LINES,
        theme=DARK,
    )  # fmt: skip
    assert "Prophet" not in [trace.name for trace in figure.data]


def test_a_series_of_one_row_without_forecast_is_still_a_chart() -> None:
    history = pd.DataFrame({a.TIME: [pd.Timestamp("2026-01-01")], a.TARGET: [1.0]})
    nothing = pd.DataFrame({a.TIME: [], a.MODEL: [], a.MEAN: []})
    figure = charts.forecast_figure(
        history, nothing, models=["XGBoost"], levels=(80,), target="y", lines=LINES, theme=LIGHT
    )
    assert len(figure.data) == 1


def test_evenly_spaced_history_is_sent_as_start_and_step() -> None:
    ds = pd.date_range("2026-01-01", periods=100_000, freq="h")
    history = pd.DataFrame({a.TIME: ds, a.TARGET: np.arange(100_000, dtype=float)})
    nothing = pd.DataFrame({a.TIME: [], a.MODEL: [], a.MEAN: []})
    figure = charts.forecast_figure(history, nothing, models=[], levels=(), target="y", lines=LINES, theme=LIGHT)
    assert (figure.data[0].x, figure.data[0].dx) == (None, 3_600_000)
    assert len(figure.to_json()) < 700_000


def test_months_are_sent_one_by_one_since_they_differ_in_length(run: Path) -> None:
    history = named(forecast_figure(run), "revenue (history)")
    assert list(pd.DatetimeIndex(history.x)) == list(frame(run, a.HISTORY)[a.TIME])


def test_large_amounts_keep_all_their_digits(run: Path) -> None:
    history = frame(run, a.HISTORY)
    history[a.TARGET] += 123_456_789.0
    figure = charts.forecast_figure(
        history, frame(run, a.FORECAST), models=[], levels=(), target="y", lines=LINES, theme=LIGHT
    )
    assert figure.data[0].y.tolist() == history[a.TARGET].tolist()


@pytest.mark.parametrize("n_windows", [1, 3, 20])
def test_a_backtest_has_few_traces_however_many_windows(tmp_path: Path, n_windows: int) -> None:
    write_run(tmp_path / "r", spec(n_windows=n_windows, step_size=1))
    figure = charts.backtest_figure(
        frame(tmp_path / "r", a.HISTORY), frame(tmp_path / "r", a.BACKTEST), models=MODELS, level=80, target="y",
        lines=LINES, theme=LIGHT,
    )  # fmt: skip
    assert len(figure.data) <= 3 + len(MODELS)
    assert len(figure.layout.shapes) == n_windows


def test_no_line_joins_two_backtest_windows(run: Path) -> None:
    figure = charts.backtest_figure(
        frame(run, a.HISTORY), frame(run, a.BACKTEST), models=["XGBoost"], level=None, target="y", lines=LINES,
        theme=LIGHT,
    )  # fmt: skip
    assert sum(value is None for value in named(figure, "XGBoost").y) == 1


def test_the_leaderboard_leaves_out_what_has_no_score_and_marks_the_yardstick() -> None:
    entries = [ModelEntry(model="XGBoost", score=0.05), ModelEntry(model="SeasonalNaive", score=0.1),
               ModelEntry(model="Prophet", score=None)]  # fmt: skip
    figure = explain_charts.leaderboard_figure(entries, metric="wape", lines=LINES, theme=LIGHT)
    assert list(figure.data[0].y) == ["XGBoost", "SeasonalNaive"]
    assert list(figure.data[0].text) == ["5.0 %", "10.0 %"]
    assert figure.layout.shapes[0].x0 == 0.1


def test_error_by_horizon_has_a_line_per_model(run: Path) -> None:
    errors = error_by_step(frame(run, a.BACKTEST))
    figure = charts.horizon_figure(errors, noun="month", lines=LINES, theme=LIGHT)
    assert {trace.name for trace in figure.data} == set(MODELS)
    assert list(named(figure, "XGBoost").y) == pytest.approx([5.0] * 6)


def test_components_beyond_eight_are_added_up_so_that_the_rows_still_sum_to_the_forecast() -> None:
    ds = pd.date_range("2026-01-01", periods=4, freq="MS")
    rows = pd.DataFrame(
        [(day, f"part {i}", float(i) - 3) for day in ds for i in range(12)], columns=[a.TIME, "component", "value"]
    )
    figure = explain_charts.components_figure(rows, colour="#0072b2", theme=LIGHT)
    forecast, *parts = figure.data
    assert [forecast.name, parts[-1].name] == ["forecast", "other"]
    assert len(parts) == 9
    assert np.sum([part.y for part in parts], axis=0) == pytest.approx(forecast.y)


def test_components_that_are_always_zero_are_left_out() -> None:
    rows = pd.DataFrame({a.TIME: pd.Timestamp("2026-01-01"), "component": ["trend", "holiday"], "value": [5.0, 0.0]})
    figure = explain_charts.components_figure(rows, colour="#0072b2", theme=LIGHT)
    assert [trace.name for trace in figure.data] == ["forecast", "trend"]


def test_long_feature_names_take_two_lines_on_the_axis_are_whole_on_hover_and_never_merged() -> None:
    names = [f"mean of the {n} values before the last <b>52</b>" for n in (7, 8)] + ["x" * 300]
    rows = pd.DataFrame({"feature": names, "importance": [0.6, 0.4, 0.1]})
    figure = explain_charts.importance_figure(rows, colour="#0072b2", axis="Share", theme=LIGHT)
    assert len(set(figure.data[0].y)) == 3
    assert list(figure.data[0].customdata) == names
    first, _, longest = figure.layout.yaxis.ticktext
    assert first == "mean of the 7 values before<br>the last &lt;b&gt;52&lt;/b&gt;"
    assert [len(line) <= 28 for line in longest.split("<br>")] == [True, True]


def test_the_yardstick_is_grey_and_models_keep_their_colour() -> None:
    assert LINES["SeasonalNaive"].colour == LIGHT.muted
    assert len(set(LINES.values())) == len(MODELS)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_every_model_has_a_line_of_its_own_and_the_best_ones_differ_in_colour(theme: Palette) -> None:
    lines = theme.lines(ModelName)
    assert len(set(lines.values())) == len(ModelName)
    others = [line for model, line in lines.items() if model != "SeasonalNaive"]
    assert len({line.colour for line in others[:7]}) == 7
    assert {line.dash for line in others[:7]} == {"solid"}


def test_models_past_the_last_colour_are_drawn_dashed(run: Path) -> None:
    lines = LIGHT.lines([*(f"m{i}" for i in range(7)), "XGBoost"])
    assert named(forecast_figure(run, lines=lines), "XGBoost").line.dash == "dash"


def test_an_error_far_off_does_not_press_the_other_bars_together() -> None:
    entries = [ModelEntry(model=name, score=error) for name, error in
               [("Theta", 0.05), ("SeasonalNaive", 0.1), ("HistoricAverage", 2.0)]]  # fmt: skip
    figure = explain_charts.leaderboard_figure(entries, metric="wape", lines=LINES, theme=LIGHT)
    assert figure.layout.xaxis.range == pytest.approx((0, 0.3))
    assert list(figure.data[0].text) == ["5.0 %", "10.0 %", "200.0 % →"]


def test_a_leaderboard_without_scores_is_still_a_chart() -> None:
    entries = [ModelEntry(model="Theta", score=None)]
    assert not explain_charts.leaderboard_figure(entries, metric="wape", lines=LINES, theme=LIGHT).data[0].x


def test_weights_are_bars_in_the_colours_of_the_models() -> None:
    figure = explain_charts.weights_figure([("XGBoost", 0.7), ("SeasonalNaive", 0.3)], lines=LINES, theme=DARK)
    assert list(figure.data[0].text) == ["70 %", "30 %"]
    assert list(figure.data[0].marker.color) == [LINES["XGBoost"].colour, LINES["SeasonalNaive"].colour]


def parts(n: int, *names: str) -> pd.DataFrame:
    ds = pd.date_range("2020-01-01", periods=n, freq="h")
    return pd.concat(
        pd.DataFrame({a.TIME: ds, "component": name, "value": np.arange(n) + 10.0**i}) for i, name in enumerate(names)
    )


def test_a_history_is_taken_apart_into_trend_seasons_from_short_to_long_and_remainder() -> None:
    rows = parts(50, "remainder", "season 168", "season 24", "trend")
    figure = explain_charts.decomposition_figure(rows, colour="#0072b2", theme=LIGHT, label=str.upper)
    assert [trace.name for trace in figure.data] == ["HISTORY", "TREND", "SEASON 24", "SEASON 168", "REMAINDER"]
    whole, *each = figure.data
    assert np.sum([part.y for part in each], axis=0) == pytest.approx(whole.y)


def test_of_a_long_history_the_latest_part_is_drawn() -> None:
    rows = parts(5_000, "trend", "remainder")
    figure = explain_charts.decomposition_figure(rows, colour="#0072b2", theme=LIGHT)
    assert {len(trace.x) for trace in figure.data} == {explain_charts.MAX_POINTS}
    assert pd.Timestamp(figure.data[0].x[-1]) == rows[a.TIME].max()


def test_a_remainder_that_is_only_rounding_is_drawn_as_nothing() -> None:
    rows = parts(20, "trend", "remainder")
    rows.loc[rows["component"] == "remainder", "value"] = 1e-14
    figure = explain_charts.decomposition_figure(rows, colour="#0072b2", theme=LIGHT)
    assert set(figure.data[-1].y) == {0.0}
