"""Home: what to do next."""

from __future__ import annotations

from dataclasses import replace

from services.domain.dataset import DatasetStatus
from tests.support.screens import Stage, texts


def test_a_newcomer_is_shown_the_two_ways_in(stage: Stage) -> None:
    app = stage.open()
    assert not app.exception
    assert [button.label for button in app.button] == ["Upload data", "Try a sample"]
    assert "Recent jobs" not in texts(app)


def test_recent_jobs_are_listed_with_status_and_result(stage: Stage) -> None:
    stage.completed("a", name="Revenue")
    stage.running("b", name="Costs")
    table = stage.open().dataframe[0].value.set_index("Job")
    assert table.loc["Revenue", "Status"] == ["✓ Completed"]
    assert (table.loc["Revenue", "Best model"], table.loc["Revenue", "Error"]) == ("XGBoost", "WAPE 5.0 %")
    assert (table.loc["Costs", "Progress"], table.loc["Costs", "Now"]) == (40, "XGBoost: backtest 2 of 3")


def test_failed_and_waiting_jobs_and_drafts_need_attention(stage: Stage) -> None:
    stage.failed("a", name="Broken")
    stage.pending("b", name="Waiting")
    stage.datasets.put(replace(stage.dataset("d1", name="half.csv"), status=DatasetStatus.DRAFT))
    stage.datasets.put(replace(stage.dataset("d2", name="begun.csv"), draft_spec_json="{}"))
    labels = [link.value for link in stage.open().page_link]
    assert [label.split("**")[1] for label in labels] == ["Broken", "Waiting", r"begun\.csv", r"half\.csv"]


def test_other_peoples_jobs_are_not_on_my_home(stage: Stage) -> None:
    stage.completed("a", name="Bob's", owner="bob@example.com")
    assert not stage.open().dataframe


def test_a_failing_reconciler_is_announced_on_every_page_with_since_when(stage: Stage) -> None:
    stage.running("a")
    stage.reconciler.fails("The executor does not answer.")
    for page in ("", "jobs", "results"):
        assert any("could not be refreshed since 09:00:00" in warning.value for warning in stage.open(page).warning)
