"""Admin: everybody's jobs, for admins only."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from pages.ui import session
from services.domain.access import User
from services.domain.errors import SetupProblem
from services.domain.job import JobId, JobStatus
from tests.support.screens import PAGES, Stage, texts


@pytest.fixture
def as_bob(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "current_user", lambda: User(name="bob@example.com"))


def test_an_admin_sees_everybodys_jobs_and_whose_they_are(stage: Stage) -> None:
    stage.pending("a", name="Mine")
    stage.running("b", name="Bob's", owner="bob@example.com")
    app = stage.open("admin")
    table = app.dataframe[0].value.set_index("Job")
    assert table["Owner"].to_dict() == {"Mine": "local_user", "Bob's": "bob@example.com"}
    assert {metric.label: metric.value for metric in app.metric}["Running"] == "1"


def test_jobs_are_filtered_by_owner(stage: Stage) -> None:
    stage.pending("a", name="Mine")
    stage.pending("b", name="Bob's", owner="bob@example.com")
    app = stage.open("admin")
    app.text_input(key="admin_owner").set_value("bob@example.com").run()
    assert list(app.dataframe[0].value["Job"]) == ["Bob's"]


def test_cancelling_somebodys_job_needs_a_reason_that_its_owner_sees(stage: Stage) -> None:
    stage.running("b", name="Bob's", owner="bob@example.com")
    app = stage.open("admin")
    assert app.button(key="admin_cancel").disabled
    app.text_input(key="admin_reason").set_value("Blocks the queue").run()
    app.button(key="admin_cancel").click().run()
    assert stage.jobs.get(JobId("b")).status is JobStatus.CANCELLING
    assert stage.jobs.events(JobId("b"))[-1].detail == "Blocks the queue"


def test_deleting_somebodys_job_is_for_ended_ones(stage: Stage) -> None:
    stage.failed("b", owner="bob@example.com")
    app = stage.open("admin")
    app.text_input(key="admin_reason").set_value("Cleaning up").run()
    assert app.button(key="admin_cancel").disabled
    app.button(key="admin_delete").click().run()
    assert stage.jobs.get(JobId("b")) is None


def test_health_names_the_failure(stage: Stage) -> None:
    stage.running("b")
    stage.reconciler.fails("The executor does not answer.")
    assert r"The executor does not answer\." in texts(stage.open("admin"))


@pytest.mark.usefixtures("as_bob")
def test_others_have_no_admin_page(stage: Stage) -> None:
    stage.pending("a", name="Secret")
    app = stage.open()
    with pytest.raises(ValueError, match="admin"):
        app.switch_page("../admin.py")


@pytest.mark.usefixtures("as_bob")
def test_others_who_ask_for_the_page_file_itself_see_nothing_of_it(stage: Stage) -> None:
    stage.pending("a", name="Secret")
    app = AppTest.from_file(PAGES / "admin.py").run()
    assert app.title[0].value == "Page not found"
    assert "Secret" not in texts(app)
    assert not app.dataframe


def test_the_installation_is_shown_with_what_mends_it(stage: Stage) -> None:
    def missing() -> str:
        raise SetupProblem("There is no policy.", remedy="Correct CLUSTER_POLICY_ID.")

    stage.probes |= {"Files": lambda: "They can be written.", "Cluster policy": missing}
    stage.__post_init__()
    assert "The first check is still running" in texts(stage.open("admin"))
    app = stage.open("admin")
    app.button(key="check_again").click().run()
    assert "1 of 2 things" in texts(app)
    assert r"There is no policy\. Correct CLUSTER\_POLICY\_ID\." in texts(app)
    stage.probes["Cluster policy"] = lambda: "It governs."
    stage.__post_init__()
    app.button(key="check_again").click().run()
    assert "2 of 2 things" in texts(app)
    assert not app.error
