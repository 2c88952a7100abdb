"""Every user's jobs, for admins. The services check again on every call."""

from __future__ import annotations

import streamlit as st

from pages.ui.errors import error_boundary, guarded, notify
from pages.ui.format import STATUS_TEXTS, ago, count, escape, moment
from pages.ui.installation import installation
from pages.ui.job_table import job_table, pager, status_filter
from pages.ui.refresh import last_known, refresh_while
from pages.ui.session import current_user, runtime, timezone
from services.domain.access import User
from services.domain.job import Job, JobStatus
from services.ports import JobFilter, JobPage

PAGE_SIZE = 25


def health() -> None:
    """Whether job states are being kept up to date."""
    state = runtime().reconciler.health
    now = runtime().clock.now()
    if state.failing_since is not None:
        since = moment(state.failing_since, timezone(), now=now)
        st.error(f"The reconciler has been failing since {since}: {escape(state.last_error)}", icon=":material/error:")
    elif state.last_success_at is None:
        st.caption("No job has needed looking after since the app was started.")
    else:
        seen = ago(state.last_success_at, now)
        st.caption(f":material/check_circle: Jobs were last looked after {seen}. While none is active, that rests.")


def counts(user: User) -> None:
    """How many jobs have each status."""
    everybodys = [usage.counts for usage in runtime().jobs.usage(user)]
    with st.grid(len(JobStatus), min_column_width=100):
        for status in JobStatus:
            st.metric(STATUS_TEXTS[status], sum(counts[status] for counts in everybodys), border=True)


@st.fragment
def everybody(user: User) -> None:
    """All jobs, filtered and paged, and what an admin can do with one."""
    with error_boundary("everybody's jobs"):
        health()
        counts(user)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            text = st.text_input("Search", key="admin_text", placeholder="Job or dataset", width=240)
            owner = st.text_input("Owner", key="admin_owner", placeholder="Exact user name", width=240)
            statuses = status_filter("admin_status")
        number = st.session_state.get("admin_page", 1)
        where = JobFilter(owner=owner.strip() or None, text=text.strip(), statuses=frozenset(statuses))

        def read() -> JobPage:
            return runtime().jobs.find(user, where, limit=PAGE_SIZE, offset=(number - 1) * PAGE_SIZE)

        page, updated_at, is_fresh = last_known("admin", (where, number), read)
        if page.total:
            job_table(page.jobs, runtime().clock.now(), key="admin_jobs", with_owner=True)
            st.caption(count(page.total, "job"))
        else:
            st.info("No job matches.")
        pager(page.total, PAGE_SIZE, key="admin_page")
        intervene(user, page.jobs)
        is_active = any(job.is_active for job in page.jobs)
        refresh_while(is_active, key="admin_refresh", updated_at=updated_at, is_fresh=is_fresh)


def intervene(user: User, jobs: tuple[Job, ...]) -> None:
    """Cancel or delete somebody's job, saying why; the reason is kept in the job's timeline."""
    by_id = {job.job_id: job for job in jobs if job.can_cancel or job.can_delete}
    if not by_id:
        return
    with st.expander("Cancel or delete a job", key="admin_intervene", icon=":material/gavel:"):
        job_id = st.selectbox(
            "Job", list(by_id), format_func=lambda i: f"{by_id[i].name} ({by_id[i].owner})", key="admin_job"
        )
        reason = st.text_input(
            "Reason", key="admin_reason", help="Its owner sees this.", placeholder="Why", max_chars=200
        )
        job, has_reason = by_id[job_id], bool(reason.strip())
        with st.container(horizontal=True):
            st.button(
                "Cancel the job", key="admin_cancel", disabled=not (job.can_cancel and has_reason), on_click=cancel,
                args=(user,), icon=":material/cancel:",
            )  # fmt: skip
            st.button(
                "Delete the job", key="admin_delete", disabled=not (job.can_delete and has_reason), on_click=delete,
                args=(user,), icon=":material/delete:",
            )  # fmt: skip


@guarded("admin cancel")
def cancel(user: User) -> None:
    """Cancel the chosen job."""
    job = runtime().jobs.cancel(user, st.session_state["admin_job"], reason=st.session_state["admin_reason"].strip())
    notify(f"{escape(job.name)}: {STATUS_TEXTS[job.status].lower()}.")


@guarded("admin delete")
def delete(user: User) -> None:
    """Delete the chosen job."""
    runtime().jobs.delete(user, st.session_state["admin_job"], reason=st.session_state["admin_reason"].strip())
    notify("The job is deleted.")


who = current_user()
if who.is_admin:
    st.title("Admin")
    everybody(who)
    installation(who)
else:
    st.title("Page not found")
    st.write("There is no such page, or it is not for you.")
