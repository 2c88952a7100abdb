"""My jobs: the list, or one of them (``?job=``). Refreshes itself while something on it is active."""

from __future__ import annotations

import streamlit as st

from pages.ui import links
from pages.ui.errors import error_boundary
from pages.ui.format import count
from pages.ui.job_detail import confirm, job_detail
from pages.ui.job_table import job_table, page_number, pager, status_filter
from pages.ui.refresh import fragment, last_known, refresh_while
from pages.ui.session import current_user, runtime
from services.domain.access import User
from services.domain.job import JobId
from services.ports import JobFilter, JobPage

PAGE_SIZE = 25


@fragment
def job_list(user: User) -> None:
    """The user's jobs, filtered and paged."""
    with error_boundary("the list of jobs"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            text = st.text_input(
                "Search", key="jobs_text", placeholder="Job or dataset", icon=":material/search:", width=260
            )
            statuses = status_filter("jobs_status")
        where = JobFilter(owner=user.name, text=text.strip(), statuses=frozenset(statuses))
        number = page_number("jobs_page", where)

        def read() -> JobPage:
            return runtime().jobs.find(user, where, limit=PAGE_SIZE, offset=(number - 1) * PAGE_SIZE)

        page, updated_at, is_fresh = last_known("jobs", (where, number), read)
        if page.total == 0:
            nothing_here(is_filtered=bool(text or statuses))
        else:
            job_table(page.jobs, runtime().clock.now(), key="jobs_table")
        pager(page.total, PAGE_SIZE, key="jobs_page")
        if page.total:
            st.caption(f"{count(page.total, 'job')}. Click a name to open it.")
        refresh_while(
            any(job.is_active for job in page.jobs), key="jobs_refresh", updated_at=updated_at, is_fresh=is_fresh
        )


def nothing_here(*, is_filtered: bool) -> None:
    """What to do about an empty list."""
    if is_filtered:
        st.info("No job matches. Clear the search or choose other statuses.", icon=":material/filter_alt_off:")
        return
    st.info("You have no jobs yet. Upload a table of history, configure a forecast, and it appears here.")
    st.page_link(links.UPLOAD, label="Upload data", icon=":material/upload_file:")


who = current_user()
job_id = st.query_params.get("job")
if job_id:
    confirm(who)
    job_detail(who, JobId(job_id))
else:
    st.title("Jobs")
    job_list(who)
