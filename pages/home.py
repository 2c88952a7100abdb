"""What to do next: start something, what waits for the user, and their recent jobs."""

from __future__ import annotations

import streamlit as st

from pages.ui import links
from pages.ui.errors import error_boundary
from pages.ui.format import count, escape, shorten
from pages.ui.job_table import job_table
from pages.ui.refresh import fragment, last_known, refresh_while
from pages.ui.session import current_user, runtime
from services.domain.access import User
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.job import Job, JobStatus
from services.ports import JobFilter

RECENT = 8
SHOWN_NOTES = 5


def start() -> None:
    """The two ways in."""
    with st.grid(2):
        with st.container(border=True, height="stretch"):
            st.subheader("Forecast your own data")
            st.write("Upload a table of history as CSV, Excel or Parquet: a date, a number, and what it belongs to.")
            st.space("stretch")
            if st.button("Upload data", key="home_upload", type="primary", icon=":material/upload_file:"):
                st.switch_page(links.UPLOAD)
        with st.container(border=True, height="stretch"):
            st.subheader("Look around first")
            st.write("Real, openly licensed sample data takes you from a table to a chart in a few minutes.")
            st.space("stretch")
            if st.button("Try a sample", key="home_sample", icon=":material/science:"):
                st.switch_page(links.UPLOAD)


@fragment
def mine(user: User) -> None:
    """What waits for the user, and their recent jobs."""
    with error_boundary("home"):
        own = JobFilter(owner=user.name)
        page, updated_at, is_fresh = last_known("home", own, lambda: runtime().jobs.find(user, own, limit=RECENT))
        attention(user, page.jobs)
        if not page.total:
            return
        st.subheader("Recent jobs")
        job_table(page.jobs, runtime().clock.now(), key="home_jobs")
        if page.total > len(page.jobs):
            st.page_link(links.JOBS, label=f"All {count(page.total, 'job')}", icon=":material/list_alt:")
        is_active = any(job.is_active for job in page.jobs)
        refresh_while(is_active, key="home_refresh", updated_at=updated_at, is_fresh=is_fresh)


def attention(user: User, jobs: tuple[Job, ...]) -> None:
    """Failed jobs, jobs nobody started, and datasets half done."""
    failed = [job for job in jobs if job.status is JobStatus.FAILED]
    waiting = [job for job in jobs if job.status is JobStatus.PENDING]
    datasets = runtime().datasets.list(user)
    drafts = [dataset for dataset in datasets if dataset.status is DatasetStatus.DRAFT]
    unfinished = [dataset for dataset in datasets if dataset.status is DatasetStatus.READY and dataset.draft_spec_json]
    if not (failed or waiting or drafts or unfinished):
        return
    st.subheader("Needs your attention")
    with st.container(border=True, gap="xsmall"):
        for job in failed[:SHOWN_NOTES]:
            note_job(job, ":material/error:", "failed, see why")
        for job in waiting[:SHOWN_NOTES]:
            note_job(job, ":material/schedule:", "not started yet")
        for dataset in unfinished[:SHOWN_NOTES]:
            note_dataset(dataset, links.CONFIGURE, ":material/tune:", "finish configuring")
        for dataset in drafts[:SHOWN_NOTES]:
            note_dataset(dataset, links.UPLOAD, ":material/draft:", "confirm columns")


def note_job(job: Job, icon: str, text: str) -> None:
    """A line that leads to a job."""
    st.page_link(
        links.JOBS, label=f"**{escape(shorten(job.name))}** · {text}", icon=icon, query_params={"job": job.job_id}
    )


def note_dataset(dataset: Dataset, page: str, icon: str, text: str) -> None:
    """A line that leads to a dataset."""
    query = {"dataset": dataset.dataset_id}
    st.page_link(page, label=f"**{escape(shorten(dataset.name))}** · {text}", icon=icon, query_params=query)


who = current_user()
st.title("Finance Forecast")
st.caption("From a table of history to forecasts you can defend.")
start()
mine(who)
