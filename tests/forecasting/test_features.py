"""Features say what a date and a covariate say, nothing of the target."""

from __future__ import annotations

import pytest

from tests.support.forecasting import LONG_AGO, panel_of, spec_of
from training.features import frame
from training.prepare import prepare_panel


@pytest.mark.parametrize(("freq", "steps"), [("15min", 96), ("h", 24), ("2h", 12), ("6h", 4), ("12h", 2), ("D", 1)])
def test_a_holiday_is_marked_on_every_step_of_its_day(freq, steps):
    panel = panel_of({"a": range(6 * steps)}, freq)
    panel["ds"] += panel["ds"].iloc[0].ceil("D") - panel["ds"].iloc[0]
    panel["ds"] += panel["ds"].iloc[0].replace(month=12, day=23) - panel["ds"].iloc[0]  # six days around Christmas
    spec = spec_of(freq=freq, horizon=2, holidays_country="US")
    framed = frame(prepare_panel(panel, spec, as_of=LONG_AGO), spec)
    marked = framed.history.loc[framed.history["n_holidays"] > 0, "ds"]
    assert len(marked) == steps
    assert (marked.dt.strftime("%m-%d") == "12-25").all()
    assert (framed.holidays["holiday"] == "Christmas Day").sum() == steps
