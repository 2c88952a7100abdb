"""Results of a finished job (``?job=``), from its run's artifacts."""

from __future__ import annotations

import streamlit as st

from pages.ui import links, result_tabs
from pages.ui.errors import error_boundary
from pages.ui.format import badge, escape
from pages.ui.job_detail import no_such_job
from pages.ui.job_table import job_table
from pages.ui.result_explain import explain_tab
from pages.ui.result_header import header
from pages.ui.result_leaderboard import leaderboard_tab
from pages.ui.result_picker import picker
from pages.ui.session import current_user, runtime
from services.domain.access import User
from services.domain.errors import NotFound
from services.domain.job import JobId, JobStatus
from services.ports import JobFilter

TABS = {
    "Forecast": result_tabs.forecast_tab,
    "Backtest": result_tabs.backtest_tab,
    "Leaderboard": leaderboard_tab,
    "Series": result_tabs.series_tab,
    "Explain": explain_tab,
    "Details": result_tabs.details_tab,
}


def choose(user: User) -> None:
    """Offer the finished jobs."""
    st.title("Results")
    finished = JobFilter(owner=user.name, statuses=frozenset({JobStatus.COMPLETED}))
    page = runtime().jobs.find(user, finished, limit=50)
    if not page.total:
        st.info("No job has finished yet. Its charts and scores will be here.", icon=":material/monitoring:")
        st.page_link(links.JOBS, label="My jobs", icon=":material/list_alt:")
        return
    st.write("Choose a finished job.")
    job_table(page.jobs, runtime().clock.now(), key="results_jobs", opens=links.RESULTS)


def show(user: User, job_id: JobId) -> None:
    """The results of one job, or why there are none yet."""
    try:
        job = runtime().jobs.get(user, job_id)
    except NotFound as exc:
        st.title("Results")
        no_such_job(user, exc)
        st.page_link(links.JOBS, label="My jobs", icon=":material/list_alt:")
        return
    if not job.has_results:
        st.title(escape(job.name))
        st.info(
            f"This job has no results: its status is “{badge(job).text.lower()}”. "
            "They appear here once it has completed.",
            icon=":material/hourglass_empty:",
        )
        st.page_link(links.JOBS, label="Go to the job", icon=":material/list_alt:", query_params={"job": job_id})
        return
    results = runtime().results.open(user, job_id)
    header(results)
    view = picker(results)
    for (title, body), tab in zip(
        TABS.items(), st.tabs(list(TABS), key="results_tabs", on_change="rerun"), strict=True
    ):
        if tab.open:
            with tab, error_boundary(title):
                body(results, view)


job_id = st.query_params.get("job")
if job_id:
    show(current_user(), JobId(job_id))
else:
    choose(current_user())
