"""The whole journey in a browser, on a server this test starts, with files that are no samples."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Server

pytestmark = pytest.mark.browser

TRAINING_TIMEOUT_MS = 180_000


def german_ledger(path: Path) -> Path:
    """Month ends, three accounts, semicolons, decimal commas, negative amounts, an emoji in a column name."""
    rng = np.random.default_rng(7)
    lines = ["Buchungstag;Konto 💶;Betrag in €"]
    for account, level in (("Süd", 1500.0), ("Nord", -400.0), ("<b>West</b>", 900.0)):
        for i, day in enumerate(pd.date_range("2020-01-31", periods=60, freq="ME")):
            amount = level * (1 + 0.2 * np.sin(2 * np.pi * i / 12)) + rng.normal(0, 30)
            text = f"{amount:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")
            lines.append(f"{day:%d.%m.%Y};{account};{text}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def slow_panel(path: Path, n_series: int = 40) -> Path:
    """Daily series, enough of them that Prophet takes a while."""
    rng = np.random.default_rng(1)
    days = [date(2022, 1, 1) + timedelta(days=i) for i in range(400)]
    rows = [
        pd.DataFrame({"day": days, "shop": f"shop {i:02d}", "sales": 50 + 10 * rng.random(400) + i})
        for i in range(n_series)
    ]
    pd.concat(rows).to_csv(path, index=False)
    return path


def upload_and_configure(page: Page, server: Server, file: Path) -> None:
    page.goto(f"{server.url}/upload")
    page.locator(".st-key-upload_file input[type=file]").set_input_files(file)
    button = page.get_by_role("button", name="Continue to configure")
    expect(button).to_be_enabled(timeout=60_000)
    button.click()
    expect(page).to_have_url(re.compile(r"/configure\?dataset=\w+"), timeout=30_000)
    expect(page.get_by_role("button", name="Create job")).to_be_enabled(timeout=30_000)


def create_job(page: Page) -> str:
    page.get_by_role("button", name="Create job").click()
    expect(page).to_have_url(re.compile(r"/jobs\?job=\w+"), timeout=30_000)
    expect(page.get_by_role("button", name="Start training")).to_be_enabled(timeout=30_000)
    found = re.search(r"job=(\w+)", page.url)
    assert found
    return found[1]


def add_model(page: Page, name: str) -> None:
    """Choose one more model, and see that the form has it."""
    box = page.locator(".st-key-models")
    box.locator("input").click()
    page.get_by_role("option", name=name).click()
    page.keyboard.press("Escape")
    expect(box.get_by_text(name, exact=True)).to_be_visible()


def test_a_file_becomes_charts_and_a_link_opens_them_in_a_new_browser(
    server: Server, page: Page, browser: Browser, tmp_path: Path
) -> None:
    upload_and_configure(page, server, german_ledger(tmp_path / "ledger.csv"))
    job_id = create_job(page)
    page.get_by_role("button", name="Start training").click()
    results = page.get_by_role("button", name="View results")
    expect(results).to_be_enabled(timeout=TRAINING_TIMEOUT_MS)  # by itself: nothing here reloads the page
    results.click()
    expect(page).to_have_url(re.compile(rf"/results\?.*job={job_id}"), timeout=30_000)
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=30_000)

    other = browser.new_context()
    fresh = other.new_page()
    fresh.goto(f"{server.url}/results?job={job_id}")
    expect(fresh.locator(".js-plotly-plot").first).to_be_visible(timeout=30_000)
    expect(fresh.get_by_text("Betrag in €").first).to_be_attached()
    other.close()

    with page.expect_download(timeout=30_000) as download:
        page.get_by_role("button", name="Download CSV").first.click()
    forecast = pd.read_csv(download.value.path())
    assert {"Buchungstag", "Konto 💶"} <= set(forecast.columns)
    assert set(forecast["Konto 💶"]) == {"Süd", "Nord", "<b>West</b>"}
    first = pd.to_datetime(forecast["Buchungstag"]).min()
    assert first == pd.Timestamp("2025-01-31"), "one period after the last, on month ends"
    assert (forecast.loc[forecast["Konto 💶"] == "Nord"].select_dtypes("number").iloc[:, 0] < 0).all()


def test_an_app_killed_while_training_finishes_the_job_after_its_restart(
    server: Server, page: Page, tmp_path: Path
) -> None:
    upload_and_configure(page, server, slow_panel(tmp_path / "shops.csv"))
    add_model(page, "Prophet")
    job_id = create_job(page)
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_text(re.compile(r"[1-9]\d* %")).first).to_be_visible(timeout=TRAINING_TIMEOUT_MS)
    server.kill()
    server.start()
    page.goto(f"{server.url}/jobs?job={job_id}")
    expect(page.get_by_role("button", name="View results")).to_be_enabled(timeout=TRAINING_TIMEOUT_MS)
    expect(page.get_by_text("Attempts", exact=True)).to_have_count(0)  # one attempt: adopted, not repeated
    page.goto(f"{server.url}/results?job={job_id}")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=30_000)


def test_start_pressed_in_two_tabs_makes_one_run(server: Server, page: Page, browser: Browser, tmp_path: Path) -> None:
    upload_and_configure(page, server, german_ledger(tmp_path / "ledger.csv"))
    job_id = create_job(page)
    context = browser.new_context()
    second = context.new_page()
    second.goto(f"{server.url}/jobs?job={job_id}")
    expect(second.get_by_role("button", name="Start training")).to_be_enabled(timeout=30_000)
    page.get_by_role("button", name="Start training").click(no_wait_after=True)
    second.get_by_role("button", name="Start training").click(no_wait_after=True)
    expect(page.get_by_role("button", name="View results")).to_be_enabled(timeout=TRAINING_TIMEOUT_MS)
    runs = [path for path in (server.home / "runs").iterdir() if path.is_dir() and path.name.startswith(job_id)]
    assert [path.name for path in runs] == [f"{job_id}-1"]
    context.close()


def test_a_fresh_server_asked_for_the_admin_page_first_answers_with_the_whole_app(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/admin")
    expect(page.get_by_role("heading", name="Admin")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("link", name="Upload")).to_be_visible()  # the shell ran: its navigation is there


def test_a_running_job_is_cancelled_from_the_screen_and_a_retry_completes_it(
    server: Server, page: Page, tmp_path: Path
) -> None:
    upload_and_configure(page, server, slow_panel(tmp_path / "shops.csv"))
    add_model(page, "Prophet")
    job_id = create_job(page)
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_text(re.compile(r"[1-9]\d* %")).first).to_be_visible(timeout=TRAINING_TIMEOUT_MS)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the job").click()
    retry = page.get_by_role("button", name="Retry")
    expect(retry).to_be_enabled(timeout=30_000)  # within seconds, though a refresh is due meanwhile
    assert (server.home / "runs" / f"{job_id}-1" / "exit.json").exists(), "the run itself has ended"
    retry.click()
    expect(page.get_by_role("button", name="View results")).to_be_enabled(timeout=TRAINING_TIMEOUT_MS)
    expect(page.get_by_text("Attempts", exact=True)).to_be_visible()
