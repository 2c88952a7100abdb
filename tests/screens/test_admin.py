"""Admin: everybody's jobs, for admins only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from streamlit.testing.v1 import AppTest

from pages.ui import session
from pages.ui.usage_table import usage_rows
from services.domain.access import LOCAL_USER, User
from services.domain.errors import InvalidInput, SetupProblem
from services.domain.job import Job, JobId, JobStatus
from tests.support.screens import PAGES, Stage, texts
from tests.support.workspace.fixtures import PLAN


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


def counted(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric if metric.value != "0"}


def aged(stage: Stage, job: Job, days: float) -> None:
    """The job, as if it had been created some days ago."""
    stage.jobs.save(replace(job, created_at=stage.clock.now() - timedelta(days=days)))


def test_an_owner_is_chosen_among_those_there_are_and_the_counts_follow(stage: Stage) -> None:
    stage.pending("a", name="Mine")
    stage.running("b", name="Bob's", owner="bob@example.com")
    app = stage.open("admin")
    assert app.selectbox(key="admin_owner").options == ["bob@example.com", "local_user"]
    assert counted(app) == {"Not started": "1", "Running": "1"}
    app.selectbox(key="admin_owner").select("bob@example.com").run()
    assert list(app.dataframe[0].value["Job"]) == ["Bob's"]
    assert counted(app) == {"Running": "1"}


def test_a_time_narrows_jobs_counts_and_owners(stage: Stage) -> None:
    stage.pending("a", name="New")
    aged(stage, stage.pending("b", name="Old", owner="bob@example.com"), days=10)
    app = stage.open("admin")
    app.selectbox(key="admin_created").select("Last 7 days").run()
    assert list(app.dataframe[0].value["Job"]) == ["New"]
    assert counted(app) == {"Not started": "1"}
    assert app.selectbox(key="admin_owner").options == ["local_user"]
    app.selectbox(key="admin_created").select("Last 30 days").run()
    assert list(app.dataframe[0].value["Job"]) == ["New", "Old"]
    app.selectbox(key="admin_created").select("Between two days").run()
    day = (stage.clock.now() - timedelta(days=10)).date()
    app.date_input(key="admin_created_days").set_value((day, day)).run()
    assert list(app.dataframe[0].value["Job"]) == ["Old"]


def test_an_owner_stays_chosen_where_a_time_has_no_job_of_theirs(stage: Stage) -> None:
    stage.pending("a")
    aged(stage, stage.pending("b", owner="bob@example.com"), days=10)
    app = stage.open("admin")
    app.selectbox(key="admin_owner").select("bob@example.com").run()
    app.selectbox(key="admin_created").select("Today").run()
    assert app.selectbox(key="admin_owner").value == "bob@example.com"
    assert "No job matches" in texts(app)


def test_a_filter_begins_at_the_first_page_again(stage: Stage) -> None:
    for n in range(30):
        stage.pending(f"a{n:02}", name=f"Plan {n}")
    app = stage.open("admin")
    app.session_state["admin_page"] = 2
    app.run()
    assert len(app.dataframe[0].value) == 5
    app.text_input(key="admin_text").set_value("Plan 7").run()
    assert list(app.dataframe[0].value["Job"]) == ["Plan 7"]


def test_the_compute_of_a_job_is_shown(stage: Stage) -> None:
    job = stage.running("a")
    stage.jobs.save(replace(job, attempts=(replace(job.attempts[0], compute=PLAN),)))
    assert list(stage.open("admin").dataframe[0].value["Compute"]) == ["S · 1 × m5d.xlarge"]


def test_who_uses_how_much(stage: Stage) -> None:
    stage.running("a")
    stage.running("b", owner="bob@example.com")
    stage.completed("c", owner="bob@example.com")
    usages = stage.runtime.jobs.usage(LOCAL_USER)
    later = [replace(usage, run_time=timedelta(minutes=n)) for n, usage in ((3, usages[0]), (1, usages[1]))]
    rows = usage_rows(later).set_index("Owner")
    assert list(rows.index) == ["bob@example.com", "local_user"]
    assert rows.loc["bob@example.com"].to_dict() == {
        "Active": 1, "Jobs": 2, "Completed": 1, "Failed": 0, "Run time": "3 min 00 s", "Share": 75.0,
    }  # fmt: skip
    assert list(usage_rows([replace(usages[0], run_time=timedelta())])["Share"]) == [0.0]
    app = stage.open("admin")
    app.session_state["admin_tabs"] = "Use by owner"
    app.run()
    assert set(app.dataframe[0].value["Owner"]) == {"bob@example.com", "local_user"}
    assert "2 of 50 places" in texts(app)


def test_a_job_can_not_be_ended_without_a_reason_even_past_the_page(stage: Stage) -> None:
    job = stage.running("b", owner="bob@example.com")
    with pytest.raises(InvalidInput, match="Say why"):
        stage.runtime.jobs.cancel(LOCAL_USER, job.job_id)


def test_an_admin_who_is_none_any_more_sees_and_does_nothing_though_the_page_is_open(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = [LOCAL_USER]
    monkeypatch.setattr(session, "current_user", lambda: user[0])
    stage.running("b", name="Bob's", owner="bob@example.com")
    app = stage.open("admin")
    app.text_input(key="admin_reason").set_value("Blocks the queue").run()
    user[0] = User(name="carl@example.com")
    app.button(key="admin_cancel").click().run()
    assert stage.jobs.get(JobId("b")).status is JobStatus.RUNNING
    assert "There is no job 'b'" in texts(app).replace("\\", "")
    assert not app.dataframe


def part_of_a_page() -> None:
    import streamlit as st

    from pages.ui.refresh import fragment
    from services.domain.access import LOCAL_USER

    fragment(lambda user, job_id: st.caption(f"{user.name} {user.is_admin} {job_id}"))(LOCAL_USER, "j1")


@pytest.mark.usefixtures("as_bob")
def test_a_part_that_refreshes_by_itself_has_the_rights_of_now() -> None:
    app = AppTest.from_function(part_of_a_page).run()
    assert [caption.value for caption in app.caption] == ["bob@example.com False j1"]
    for path in PAGES.rglob("*.py"):
        assert "@st.fragment" not in path.read_text() or path.name == "refresh.py", f"{path.name} keeps its first user"


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
