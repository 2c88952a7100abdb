"""The shell: who is looking, what they can go to, and what becomes of errors."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from pages.ui import session
from services import bootstrap
from services.domain.access import LOCAL_USER, User
from services.domain.errors import DirectoryUnavailable, NotAllowed
from services.identity import Identity
from services.ports import JobFilter, JobPage
from tests.support.screens import PAGES, Stage, texts


@pytest.mark.parametrize("page", ["", "upload", "configure", "jobs", "results", "admin"])
def test_every_page_opens_on_an_empty_installation(stage: Stage, page: str) -> None:
    app = stage.open(page)
    assert not app.exception
    assert not app.error
    assert len(app.title) == 1


def test_the_user_is_named(stage: Stage) -> None:
    assert any("local\\_user" in caption.value for caption in stage.open().sidebar.caption)


def test_a_defect_becomes_an_incident_number_and_its_traceback_goes_to_the_log(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        raise ValueError("password=hunter2")

    monkeypatch.setattr(stage.jobs, "find", broken)
    with caplog.at_level(logging.ERROR):
        app = stage.open("jobs")
    assert not app.exception
    assert "hunter2" not in texts(app)
    incident = re.search(r"incident number `(\w+)`", texts(app))
    assert incident is not None
    (record,) = [record for record in caplog.records if incident[1] in record.getMessage()]
    assert record.exc_info is not None


def test_a_defect_in_a_callback_is_shown_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.pending()
    app = stage.open("jobs", job="j1")
    monkeypatch.setattr(stage.jobs, "save", lambda job, events: 1 / 0)
    app.button(key="job_start").click().run()
    assert not app.exception
    assert "incident number" in texts(app)


class Broken:
    """A workspace that can't say who is in a group."""

    def is_member(self, user: str, group: str, *, token: str | None) -> bool:
        raise DirectoryUnavailable("Databricks is on holiday.")


@pytest.fixture
def in_apps(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Inside Databricks Apps; returns the headers that the proxy sends."""
    identity = Identity(is_behind_proxy=True, admin_users=("Boss@example.com",), admin_group="admins", groups=Broken())
    bootstrap.install(replace(stage.runtime, identity=identity))
    headers: dict[str, str] = {}
    monkeypatch.setattr(session.st, "context", SimpleNamespace(headers=headers, timezone=None))
    return headers


@pytest.mark.parametrize(("email", "is_admin"), [("Ann@example.com", False), ("boss@example.com", True)])
def test_inside_databricks_apps_the_proxy_says_who_it_is(in_apps: dict[str, str], email: str, is_admin: bool) -> None:
    in_apps["X-Forwarded-Email"] = email
    assert session.current_user() == User(name=email.lower(), is_admin=is_admin)


def test_inside_databricks_apps_nobody_gets_in_without_the_proxys_word(in_apps: dict[str, str]) -> None:
    with pytest.raises(NotAllowed, match="signed in through Databricks"):
        session.current_user()


@pytest.mark.parametrize("page", ["home", "upload", "configure", "jobs", "results", "admin"])
def test_a_page_file_by_itself_refuses_who_is_nobody(in_apps: dict[str, str], stage: Stage, page: str) -> None:
    stage.completed("a", name="Secret")
    stage.dataset(name="secret.csv")
    app = AppTest.from_file(PAGES / f"{page}.py")
    app.query_params.update({"job": "a", "dataset": "d1"})
    app.run()
    assert app.exception  # no shell, so no boundary that says it in words
    assert not app.title
    assert "ecret" not in texts(app)
    assert not app.dataframe
    in_apps["X-Forwarded-Email"] = "ann@example.com"
    app.query_params.clear()
    assert app.run().title


def test_the_shell_refuses_who_is_nobody_with_a_sentence(in_apps: dict[str, str], stage: Stage) -> None:
    app = stage.open()
    assert r"signed in through Databricks" in texts(app)
    assert not app.title


def test_rights_that_could_not_be_checked_are_told_and_there_are_none(in_apps: dict[str, str], stage: Stage) -> None:
    in_apps["X-Forwarded-Email"] = "ann@example.com"
    app = stage.open()
    assert any("Databricks is on holiday" in caption.value for caption in app.sidebar.caption)
    with pytest.raises(ValueError, match="admin"):
        app.switch_page("../admin.py")


@pytest.mark.usefixtures("stage")
def test_elsewhere_the_header_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"X-Forwarded-Email": "mallory@example.com"}
    monkeypatch.setattr(session.st, "context", SimpleNamespace(headers=headers))
    assert session.current_user() == LOCAL_USER
