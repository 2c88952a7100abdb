"""Every user's jobs and who uses how much, for admins. The services check again on every call."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.ui.created_filter import created_filter
from pages.ui.errors import error_boundary, guarded, notify
from pages.ui.format import STATUS_TEXTS, ago, badge, count, escape, moment
from pages.ui.installation import installation
from pages.ui.job_detail import MAX_REASON
from pages.ui.job_table import job_table, page_number, pager, status_filter
from pages.ui.refresh import fragment, last_known, refresh_while
from pages.ui.session import current_user, runtime, timezone
from pages.ui.usage_table import status_counts, usage_table
from services.domain.access import User
from services.domain.job import Job
from services.ports import JobFilter, JobPage, Usage

PAGE_SIZE = 25
OWNER = "admin_owner"


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


@fragment
def everybody(user: User) -> None:
    """All jobs, filtered and paged, what they come to, and what an admin can do with one."""
    with error_boundary("everybody's jobs"):
        user.require_admin("see everybody's jobs")
        health()
        now = runtime().clock.now()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            created = created_filter("admin_created", now, timezone())
            in_time = JobFilter(created_from=created.start, created_to=created.end)
            usages, _, _ = last_known("admin_usage", in_time, lambda: runtime().jobs.usage(user, in_time))
            owner = owner_filter(usages)
            text = st.text_input(
                "Search", key="admin_text", placeholder="Job or dataset", icon=":material/search:", width=240
            )
        status_counts(usage for usage in usages if owner in {None, usage.owner})
        jobs, use = st.tabs(["Jobs", "Use by owner"], key="admin_tabs", on_change="rerun")
        if use.open:
            with use:
                show_use(usages)
        if jobs.open:
            with jobs:
                statuses = status_filter("admin_status")
                where = JobFilter(
                    owner=owner, text=text.strip(), statuses=frozenset(statuses), created_from=created.start,
                    created_to=created.end,
                )  # fmt: skip
                show_jobs(user, where)


def owner_filter(usages: Sequence[Usage]) -> str | None:
    """One of the people who have jobs; ``None`` for everybody."""
    names = [usage.owner for usage in usages]
    chosen = st.session_state.get(OWNER)
    if chosen and chosen not in names:
        names.append(chosen)  # had none in the time chosen last
    return st.selectbox("Owner", names, index=None, key=OWNER, placeholder="Everybody", width=260)


def show_use(usages: Sequence[Usage]) -> None:
    """Who uses how much, of everybody's jobs in the time chosen."""
    if not usages:
        st.info("Nobody has a job of that time.")
        return
    settings = runtime().settings
    usage_table(usages, limit=settings.max_active_jobs_per_user, overall=settings.max_active_jobs)


def show_jobs(user: User, where: JobFilter) -> None:
    """The jobs that the filters leave, and what an admin can do with one."""
    number = page_number("admin_page", where)

    def read() -> JobPage:
        return runtime().jobs.find(user, where, limit=PAGE_SIZE, offset=(number - 1) * PAGE_SIZE)

    page, updated_at, is_fresh = last_known("admin", (where, number), read)
    if page.total:
        job_table(page.jobs, runtime().clock.now(), key="admin_jobs", with_owner=True)
        st.caption(f"{count(page.total, 'job')}. Click a name to open it.")
    else:
        st.info("No job matches. Choose another time or owner, or clear the search.", icon=":material/filter_alt_off:")
    pager(page.total, PAGE_SIZE, key="admin_page")
    intervene(user, page.jobs)
    is_active = any(job.is_active for job in page.jobs)
    refresh_while(is_active, key="admin_refresh", updated_at=updated_at, is_fresh=is_fresh)


def intervene(user: User, jobs: tuple[Job, ...]) -> None:
    """Cancel or delete somebody's job, saying why; the reason is kept in the job's timeline."""
    by_id = {job.job_id: job for job in jobs}
    if not by_id:
        return
    with st.expander("Cancel or delete a job", key="admin_intervene", icon=":material/gavel:"):
        job_id = st.selectbox(
            "Job of this list",
            list(by_id),
            key="admin_job",
            format_func=lambda i: title(by_id[i]),
            filter_mode="contains",
        )
        job = by_id[job_id]
        reason = st.text_input(
            f"Reason, for {escape(job.owner)} to read", key="admin_reason", placeholder="Why, then Enter",
            max_chars=MAX_REASON, help="Kept in the job's timeline; once it is deleted, shown at its address.",
        )  # fmt: skip
        has_reason = bool(reason.strip())
        with st.container(horizontal=True):
            st.button(
                "Cancel the job", key="admin_cancel", disabled=not (job.can_cancel and has_reason), on_click=cancel,
                args=(user,), icon=":material/cancel:",
            )  # fmt: skip
            st.button(
                "Delete the job", key="admin_delete", disabled=not (job.can_delete and has_reason), on_click=delete,
                args=(user,), icon=":material/delete:",
            )  # fmt: skip


def title(job: Job) -> str:
    """A job among others'."""
    return f"{job.name} · {job.owner} · {badge(job).text.lower()}"


@guarded("admin cancel")
def cancel(user: User) -> None:
    """Cancel the chosen job."""
    job = runtime().jobs.cancel(user, st.session_state["admin_job"], reason=st.session_state["admin_reason"])
    st.session_state["admin_reason"] = ""
    notify(f"{escape(job.name)}: {STATUS_TEXTS[job.status].lower()}.")


@guarded("admin delete")
def delete(user: User) -> None:
    """Delete the chosen job."""
    runtime().jobs.delete(user, st.session_state["admin_job"], reason=st.session_state["admin_reason"])
    st.session_state["admin_reason"] = ""
    notify("The job is deleted.")


who = current_user()
if who.is_admin:
    st.title("Admin")
    everybody(who)
    installation(who)
else:
    st.title("Page not found")
    st.write("There is no such page, or it is not for you.")
