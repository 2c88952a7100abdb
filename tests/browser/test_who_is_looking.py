"""Inside Databricks Apps, as far as a server can tell: who is nobody gets nothing, whatever page they open first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.domain.job import DatasetId, EventKind, Job, JobEvent, JobId, JobStatus
from tests.browser.conftest import Server

pytestmark = pytest.mark.browser

SECRET = "Plan for the merger"  # a job of somebody else's


def keep_a_secret(home: Path) -> None:
    now = datetime.now(UTC)
    database = Database(home / "state.db")
    job = Job(
        job_id=JobId("j1"), owner="ann@example.com", name=SECRET, dataset_id=DatasetId("d1"), dataset_name="plan.csv",
        spec_json="{}", status=JobStatus.PENDING, version=0, created_at=now, updated_at=now,
    )  # fmt: skip
    SqliteJobStore(database).add(job, JobEvent(job_id=job.job_id, at=now, kind=EventKind.CREATED, actor=job.owner))
    database.close()


@pytest.fixture
def behind_proxy(tmp_path: Path) -> Iterator[Server]:
    """A fresh server that believes in the proxy's headers."""
    home = tmp_path / "home"
    keep_a_secret(home)
    settings = {
        "FORECAST_HOME": str(home),
        "DATABRICKS_APP_NAME": "forecast",
        "ENABLE_CLUSTER_DELEGATION": "false",
        "ADMIN_USERS": "boss@example.com",
    }
    running = Server(home, settings)
    running.start()
    yield running
    running.stop()


def opened(browser: Browser, url: str, user: str | None) -> Page:
    """A page as the proxy would bring it; Playwright sends the headers with the WebSocket too."""
    headers = {"X-Forwarded-Email": user} if user else {}
    page = browser.new_context(extra_http_headers=headers).new_page()
    page.goto(url)
    return page


def test_the_first_request_of_a_fresh_server_for_the_admin_page_runs_nothing_of_it_for_others(
    behind_proxy: Server, browser: Browser
) -> None:
    bob = opened(browser, f"{behind_proxy.url}/admin", "bob@example.com")
    expect(bob.get_by_text("Page not found").first).to_be_visible(timeout=30_000)
    expect(bob.get_by_role("link", name="Upload")).to_be_visible()  # the shell ran
    expect(bob.get_by_role("link", name="Admin")).to_have_count(0)
    expect(bob.get_by_text(SECRET)).to_have_count(0)
    expect(bob.get_by_role("heading", name="Admin")).to_have_count(0)
    expect(bob.get_by_role("region", name="Forecast jobs")).to_have_count(0)

    boss = opened(browser, f"{behind_proxy.url}/admin", "Boss@Example.com")
    expect(boss.get_by_role("heading", name="Admin")).to_be_visible(timeout=30_000)
    expect(boss.get_by_role("region", name="Forecast jobs")).to_be_visible(timeout=30_000)


def test_the_first_request_of_a_fresh_server_without_the_proxys_word_is_refused(
    behind_proxy: Server, browser: Browser
) -> None:
    for path in ("admin", "", "upload", "configure", "jobs?job=j1", "results?job=j1"):
        nobody = opened(browser, f"{behind_proxy.url}/{path}", None)
        expect(nobody.get_by_text("Only people signed in through Databricks can use this app.")).to_be_visible(
            timeout=30_000
        )
        expect(nobody.get_by_role("heading")).to_have_count(0)
        expect(nobody.get_by_text(SECRET)).to_have_count(0)
        expect(nobody.get_by_role("link", name="Upload")).to_have_count(0)
        nobody.context.close()
