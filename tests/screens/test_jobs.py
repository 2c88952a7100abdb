"""Jobs: the list, one job, and what can be done with it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from streamlit.testing.v1 import AppTest

from pages.ui import session
from services.domain.access import LOCAL_USER, User
from services.domain.errors import StoreUnavailable
from services.domain.job import JobId, JobStatus, RunId
from services.domain.login import OWN_LOGIN
from services.ports import JobFilter, JobPage
from tests.support.screens import Stage, texts


def enabled(app: AppTest) -> set[str]:
    keys = ("job_start", "job_results", "job_cancel", "job_retry", "job_clone", "job_delete")
    return {app.button(key=key).label for key in keys if not app.button(key=key).disabled}


def status(stage: Stage, job_id: str = "j1") -> JobStatus:
    job = stage.jobs.get(JobId(job_id))
    assert job is not None
    return job.status


def refreshes(app: AppTest) -> bool:
    return bool(app.get("component_instance"))


def test_my_jobs_are_listed_and_nobody_elses(stage: Stage) -> None:
    stage.completed("a", name="Mine")
    stage.pending("b", name="Bob's", owner="bob@example.com")
    table = stage.open("jobs").dataframe[0].value
    assert list(table["Job"]) == ["Mine"]
    assert "Owner" not in table.columns


def test_an_empty_list_says_what_to_do(stage: Stage) -> None:
    app = stage.open("jobs")
    assert "You have no jobs yet" in texts(app)
    assert not refreshes(app)


def test_jobs_are_found_by_text_and_status(stage: Stage) -> None:
    for job_id, name in (("a", "Revenue"), ("b", "Costs")):
        stage.pending(job_id, name=name)
    stage.completed("c", name="Revenue 2")
    app = stage.open("jobs")
    app.text_input(key="jobs_text").set_value("reven").run()
    assert set(app.dataframe[0].value["Job"]) == {"Revenue", "Revenue 2"}
    app.get_by_key("jobs_status").set_value([JobStatus.COMPLETED]).run()
    assert list(app.dataframe[0].value["Job"]) == ["Revenue 2"]
    app.text_input(key="jobs_text").set_value("nothing like it").run()
    assert "No job matches" in texts(app)


def test_a_long_list_has_pages(stage: Stage) -> None:
    for i in range(30):
        stage.clock.advance(seconds=1)
        stage.pending(f"j{i}", name=f"Job {i}")
    app = stage.open("jobs")
    assert len(app.dataframe[0].value) == 25
    assert "30 jobs" in texts(app)
    app.session_state["jobs_page"] = 2
    app.run()
    assert list(app.dataframe[0].value["Job"]) == [f"Job {i}" for i in range(4, -1, -1)]


@pytest.mark.parametrize(("make", "is_active"), [("running", True), ("completed", False), ("pending", False)])
def test_a_page_refreshes_itself_only_while_something_is_active(stage: Stage, make: str, is_active: bool) -> None:
    getattr(stage, make)()
    assert refreshes(stage.open("jobs")) == is_active
    assert refreshes(stage.open("jobs", job="j1")) == is_active


def test_while_the_store_is_down_the_last_known_list_stays_with_since_when(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.pending(name="Revenue")
    app = stage.open("jobs")

    def down(where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        raise StoreUnavailable("The job store does not answer.")

    monkeypatch.setattr(stage.jobs, "find", down)
    stage.clock.advance(seconds=60)
    app.run()
    assert list(app.dataframe[0].value["Job"]) == ["Revenue"]
    assert "this is the state as of 09:00:00" in texts(app)
    assert refreshes(app)
    app.text_input(key="jobs_text").set_value("cost").run()
    assert "does not answer" in texts(app)  # the last list is no answer to another question
    assert not app.dataframe
    assert "does not answer" in texts(stage.open("jobs"))  # another browser has nothing to fall back on


@pytest.mark.parametrize(
    ("make", "actions"),
    [
        ("pending", {"Start training", "Cancel", "Clone", "Delete"}),
        ("running", {"Cancel", "Clone"}),
        ("failed", {"Retry", "Clone", "Delete"}),
        ("completed", {"View results", "Clone", "Delete"}),
    ],
)
def test_only_what_is_legal_can_be_pressed(stage: Stage, make: str, actions: set[str]) -> None:
    getattr(stage, make)()
    assert enabled(stage.open("jobs", job="j1")) == actions


@pytest.mark.parametrize(
    ("make", "ask", "confirm"),
    [("running", "job_cancel", "confirm_cancel"), ("failed", "job_delete", "confirm_delete")],
)
def test_an_admin_who_ends_or_removes_somebodys_job_here_says_why(
    stage: Stage, make: str, ask: str, confirm: str
) -> None:
    job = getattr(stage, make)(owner="bob@example.com")
    app = stage.open("jobs", job="j1")
    assert r"Owner: **bob\@example\.com**" in texts(app)
    app.button(key=ask).click().run()
    assert app.button(key=confirm).disabled
    app.text_input(key="confirm_reason").set_value("Blocks the queue").run()
    app.button(key=confirm).click().run()
    last = stage.jobs.events(job.job_id)[-1]
    assert (last.actor, last.detail) == ("local_user", "Blocks the queue")


def test_ones_own_job_is_ended_without_a_reason(stage: Stage) -> None:
    stage.running()
    app = stage.open("jobs", job="j1")
    app.button(key="job_cancel").click().run()
    assert not [box for box in app.text_input if box.key == "confirm_reason"]
    assert "Owner" not in texts(app)


def test_the_owner_of_a_cancelled_job_reads_above_it_who_cancelled_it_and_why(stage: Stage) -> None:
    stage.pending("a")
    stage.runtime.jobs.cancel(LOCAL_USER, JobId("a"))
    assert not stage.open("jobs", job="a").warning
    stage.pending("b")
    stage.runtime.jobs.cancel(User(name="eva@example.com", is_admin=True), JobId("b"), "Month-end: *machines* needed")
    (warning,) = stage.open("jobs", job="b").warning
    assert warning.value.replace("\\", "") == "Cancelled by eva@example.com: Month-end: *machines* needed"
    stage.runtime.jobs.retry(LOCAL_USER, JobId("b"))
    assert not stage.open("jobs", job="b").warning


def test_the_owner_of_a_deleted_job_reads_who_deleted_it_and_why(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.failed(owner="bob@example.com")
    stage.runtime.jobs.delete(LOCAL_USER, JobId("j1"), "Contains *salaries*")
    monkeypatch.setattr(session, "current_user", lambda: User(name="bob@example.com"))
    for page in ("jobs", "results"):
        text = texts(stage.open(page, job="j1"))
        assert "deleted by local\\_user" in text
        assert r"Contains \*salaries\*" in text
    monkeypatch.setattr(session, "current_user", lambda: User(name="carl@example.com"))
    assert "salaries" not in texts(stage.open("jobs", job="j1"))


def test_a_job_that_waits_for_its_turn_is_queued_and_its_waiting_is_no_running_time(stage: Stage) -> None:
    now = stage.clock.now()
    job = stage.pending().start(now - timedelta(seconds=95)).accepted(RunId("r1"), "Waiting for a free place", now)
    stage.jobs.save(job, ())
    row = stage.open("jobs").dataframe[0].value.iloc[0]
    assert (row["Status"], row["Elapsed"]) == (["◌ Queued"], "waiting 1 min 35 s")
    assert row["Now"] == "Waiting for a free place"
    app = stage.open("jobs", job="j1")
    assert "Queued" in app.get("markdown")[0].value
    assert "waiting for 1 min 35 s" in texts(app)
    assert "Running" not in texts(app)


def test_running_time_begins_when_computing_does(stage: Stage) -> None:
    stage.running()
    stage.clock.advance(seconds=20)
    assert stage.open("jobs").dataframe[0].value["Elapsed"].tolist() == ["20 s"]
    assert "running for 20 s" in texts(stage.open("jobs", job="j1"))


def test_start_training_sends_the_job_off(stage: Stage) -> None:
    stage.pending()
    app = stage.open("jobs", job="j1")
    app.button(key="job_start").click().run()
    assert not app.exception
    assert status(stage) is JobStatus.SUBMITTING
    assert app.button(key="job_start").disabled


def test_a_start_and_a_retry_carry_the_person_s_login(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(stage.runtime.jobs, "_require_readable", lambda user, dataset, login: seen.append(login))
    stage.dataset()
    stage.pending()
    stage.open("jobs", job="j1").button(key="job_start").click().run()
    stage.failed("j2")
    stage.open("jobs", job="j2").button(key="job_retry").click().run()
    assert seen == [OWN_LOGIN, OWN_LOGIN]


def test_a_start_beyond_the_limit_says_so_and_changes_nothing(stage: Stage) -> None:
    for i in range(5):
        stage.running(f"r{i}")
    stage.pending()
    app = stage.open("jobs", job="j1")
    app.button(key="job_start").click().run()
    assert "5 active jobs, which is the limit" in texts(app)
    assert status(stage) is JobStatus.PENDING


def test_cancel_asks_first(stage: Stage) -> None:
    stage.running()
    app = stage.open("jobs", job="j1")
    app.button(key="job_cancel").click().run()
    assert status(stage) is JobStatus.RUNNING
    app.button(key="confirm_cancel").click().run()
    assert status(stage) is JobStatus.CANCELLING
    with pytest.raises(KeyError):
        app.button(key="confirm_cancel")


@pytest.mark.parametrize(("make", "said"), [("pending", "Nothing has been started"), ("running", "stopped within")])
def test_a_cancel_says_what_it_means_for_this_job(stage: Stage, make: str, said: str) -> None:
    getattr(stage, make)()
    app = stage.open("jobs", job="j1")
    app.button(key="job_cancel").click().run()
    assert said in texts(app)


def test_a_confirmation_can_be_declined_and_stays_open_meanwhile(stage: Stage) -> None:
    stage.running()
    app = stage.open("jobs", job="j1")
    app.button(key="job_cancel").click().run()
    app.run()
    app.button(key="confirm_no").click().run()
    assert status(stage) is JobStatus.RUNNING
    with pytest.raises(KeyError):
        app.button(key="confirm_no")


def test_delete_asks_first_and_goes_back_to_the_list(stage: Stage) -> None:
    stage.failed()
    app = stage.open("jobs", job="j1")
    app.button(key="job_delete").click().run()
    app.button(key="confirm_delete").click().run()
    assert stage.jobs.get(JobId("j1")) is None
    assert "job" not in app.query_params
    assert "You have no jobs yet" in texts(app)


def test_retry_makes_a_second_attempt(stage: Stage) -> None:
    stage.failed()
    app = stage.open("jobs", job="j1")
    app.button(key="job_retry").click().run()
    job = stage.jobs.get(JobId("j1"))
    assert (job.status, len(job.attempts)) == (JobStatus.SUBMITTING, 2)
    assert texts(app).index("**Attempt 2**") < texts(app).index("**Attempt 1**")


def test_clone_shows_the_copy_ready_to_start(stage: Stage) -> None:
    stage.dataset()
    stage.completed(name="Revenue")
    app = stage.open("jobs", job="j1")
    app.button(key="job_clone").click().run()
    assert app.query_params["job"] != "j1"
    assert app.title[0].value == r"Revenue \(copy\)"
    assert not app.button(key="job_start").disabled


def test_view_results_goes_to_the_results_of_this_job(stage: Stage) -> None:
    stage.completed(name="Revenue")
    app = stage.open("jobs", job="j1")
    app.button(key="job_results").click().run()
    assert not app.exception
    assert "on average" in texts(app)


def test_a_failed_job_says_why(stage: Stage) -> None:
    stage.failed(message="Series 'a' has 2 rows. Drop it.")
    (error,) = stage.open("jobs", job="j1").error
    assert r"Series 'a' has 2 rows\. Drop it\." in error.value


def test_the_timeline_is_newest_first(stage: Stage) -> None:
    stage.failed(message="Too short")
    app = stage.open("jobs", job="j1")
    events = [text.value.split("**")[1] for text in app.markdown if text.value.startswith(":material")]
    assert events == ["Failed", "Started", "Created"]


def test_configuration_and_log_are_on_their_tabs(stage: Stage) -> None:
    stage.running()
    app = stage.open("jobs", job="j1")
    assert not app.code
    app.session_state["job_tabs"] = "Configuration"
    app.run()
    assert "Monthly, month start" in app.table[0].value.to_string()
    app.session_state["job_tabs"] = "Log"
    app.run()
    assert "r-j1 line 300" in app.code[0].value


@pytest.mark.parametrize("job_id", ["nobody", "bobs"])
def test_a_job_that_is_gone_reads_as_not_found(stage: Stage, job_id: str) -> None:
    app = stage.open("jobs", job=job_id)
    assert "There is no job" in texts(app)
    assert "All jobs" in [button.label for button in app.button]


def test_names_with_markup_are_shown_letter_by_letter(stage: Stage) -> None:
    stage.pending(name="<b>x</b> **y** :red[z] 🙂")
    app = stage.open("jobs", job="j1")
    assert app.title[0].value == r"\<b\>x\</b\> \*\*y\*\* \:red\[z\] 🙂"
