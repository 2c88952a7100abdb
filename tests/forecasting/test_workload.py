"""The estimate on the review screen grows with what is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forecasting import Silence, spec_of
from training.models import scope_of
from training.models.base import Scope
from training.progress import ConsoleSink, Meter
from training.spec import ModelName
from training.workload import COSTS, GLOBAL, Estimate, estimate


def seconds(n_series: int = 100, *, cores: int = 2, **values) -> float:
    return estimate(spec_of(**values), n_series=n_series, n_rows=n_series * 100, cores=cores).seconds


def test_every_model_has_a_cost_and_global_ones_are_one_fit_over_the_panel():
    assert set(COSTS) == set(ModelName)
    assert {name for name in ModelName if name is not ModelName.ENSEMBLE and scope_of(name) is Scope.PANEL} == GLOBAL


def test_fits_are_counted_per_series_and_window_for_local_models_and_per_window_for_global_ones():
    spec = spec_of(models=("SeasonalNaive", "Prophet", "XGBoost"), n_windows=3)
    found = estimate(spec, n_series=10, n_rows=1000, cores=2)
    assert isinstance(found, Estimate)
    assert found.n_fits == 10 * 4 + 10 * 4 + 4
    assert set(found.by_model) == set(spec.models)


def test_more_work_takes_longer_and_more_cores_make_it_shorter():
    base = seconds(models=("Prophet",), n_windows=2)
    assert seconds(200, models=("Prophet",), n_windows=2) > base
    assert seconds(models=("Prophet",), n_windows=4) > base
    assert seconds(models=("Prophet", "XGBoost"), n_windows=2) > base
    assert seconds(models=("Prophet",), n_windows=2, cores=8) < base
    assert seconds(models=("XGBoost",), preset="thorough") > seconds(models=("XGBoost",), preset="fast")


@given(st.lists(st.tuples(st.sampled_from(["done", "say", "at"]), st.floats(0, 100)), max_size=40))
def test_a_percentage_never_falls_and_never_exceeds_a_hundred(events):
    sink = Silence()
    meter = Meter(sink)
    meter.plan([10.0] * 10)
    for kind, number in events:
        match kind:
            case "done":
                meter.done(number, "x")
            case "say":
                meter.say("x")
            case _:
                meter.at(number * 1.5, "x")
    percents = [percent for percent, _ in sink.reports]
    assert percents == sorted(percents)
    assert all(0 <= percent <= 100 for percent in percents)


class _Stream:
    def __init__(self, *, terminal: bool) -> None:
        self.text, self._terminal = "", terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...


@pytest.mark.parametrize("terminal", [True, False])
def test_the_console_shows_one_rewritten_line_on_a_terminal_and_plain_lines_elsewhere(terminal):
    stream = _Stream(terminal=terminal)
    sink = ConsoleSink(stream)
    for percent, step in ((10.0, "Prophet: forecast (1 of 3)"), (20.0, "Prophet: forecast (2 of 3)"), (100.0, "Done")):
        sink.report(percent, step)
    assert stream.text.count("\r") == (3 if terminal else 0)
    assert stream.text.count("\n") == (1 if terminal else 2)
    assert "(2 of 3)" in stream.text or not terminal


def test_steps_that_take_turns_are_each_told_once_in_a_while():
    stream = _Stream(terminal=False)
    sink = ConsoleSink(stream)
    for done in range(1, 4):
        for model in ("CES", "Naive"):
            sink.report(11.0, f"{model}: forecast ({done} of 60 series)")
    assert stream.text.splitlines() == [f" 11 %  {model}: forecast (1 of 60 series)" for model in ("CES", "Naive")]
