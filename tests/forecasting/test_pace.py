"""What a waiting user reads: series done, speed, and how long the rest takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training.pace import Pace, duration
from training.spec import ModelName
from training.units import Unit


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def units_of(n, model=ModelName.THETA, *, size=100, cost_s=1.0, step="Theta: backtest 2 of 3"):
    series = tuple(f"s{i}" for i in range(size))
    return [Unit(model=model, window=1, bucket=i, series=series, cost_s=cost_s, step=step) for i in range(n)]


def test_the_step_says_how_much_how_fast_and_how_long():
    clock = Clock()
    pace, units = Pace(clock), units_of(100)
    pace.expect(units)
    pace.begin(units[0].step)
    assert pace.text == "Theta: backtest 2 of 3"
    for i, unit in enumerate(units[:32]):
        clock.now += 0.6 if i % 2 else 1.75
        pace.computed(unit, seconds=2.35)  # two at once on two cores
    assert pace.text == "Theta: backtest 2 of 3 (3,200 of 10,000 series, 84 series/s, about 1 min left)"


def test_time_left_is_measured_not_taken_from_the_cost_table():
    clock = Clock()
    pace = Pace(clock)
    cheap = units_of(10, cost_s=0.1)
    dear = units_of(10, ModelName.PROPHET, cost_s=10.0, step="Prophet: forecast")
    pace.expect([*cheap, *dear])
    for unit in cheap:
        clock.now += 1.0
        pace.computed(unit, seconds=1.0)  # ten times what was expected, of a hundredth of the work
    assert 100.0 < pace.left_s < 200.0, "Prophet may be slower too, but nobody knows yet"
    clock.now += 20.0
    pace.computed(dear[0], seconds=20.0)  # twice what was expected, as it turns out
    assert pace.left_s == pytest.approx(180.0)
    clock.now += 15.0
    assert pace.left_s == pytest.approx(165.0)


def test_a_first_unit_that_waits_for_libraries_does_not_turn_minutes_into_hours():
    clock = Clock()
    pace = Pace(clock)
    first = units_of(1, ModelName.SEASONAL_NAIVE, cost_s=0.001)[0]
    pace.expect([first, *units_of(4, ModelName.PROPHET, cost_s=15.0)])
    clock.now += 4.0
    pace.computed(first, seconds=4.0)
    assert pace.left_s == pytest.approx(100.0, rel=0.01)


def test_more_workers_divide_the_time_left():
    clock = Clock()
    pace, units = Pace(clock), units_of(40)
    pace.expect(units)
    for i, unit in enumerate(units[:20]):
        clock.now += 4.0 if i % 4 == 0 else 0.0
        pace.computed(unit, seconds=4.0)
    assert pace.left_s == pytest.approx(20.0)


def test_finished_work_of_an_earlier_attempt_says_nothing_about_speed():
    clock = Clock()
    pace, units = Pace(clock), units_of(10)
    pace.expect(units)
    for unit in units[:5]:
        pace.found(unit)
    clock.now += 10.0
    pace.computed(units[5], seconds=10.0)
    assert pace.text == "Theta: backtest 2 of 3 (600 of 1,000 series, 10 series/s, about 40 s left)"


def test_work_that_is_dropped_is_waited_for_no_longer():
    clock = Clock()
    pace, units = Pace(clock), units_of(10)
    pace.expect(units)
    clock.now += 5.0
    pace.computed(units[0], seconds=5.0)
    for unit in units[1:9]:
        pace.drop(unit)
    assert pace.left_s == pytest.approx(5.0)
    assert "100 of 200 series" in pace.text


def test_where_nobody_says_how_long_a_unit_took_the_wall_clock_does():
    clock = Clock()
    pace, units = Pace(clock), [replace(unit, cost_s=2.0) for unit in units_of(10)]
    pace.expect(units)
    for unit in units[:5]:
        clock.now += 4.0
        pace.computed(unit, None)
    assert pace.left_s == pytest.approx(18.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(6, "5 s"), (44, "45 s"), (80, "1 min"), (150, "2 min"), (3_000, "50 min"), (9_000, "2.5 h")],
)
def test_a_time_to_wait_is_no_more_exact_than_it_is_known(seconds, words):
    assert duration(seconds) == words
