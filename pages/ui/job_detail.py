"""One job: its state, what can be done with it, and how it came to be so."""

from __future__ import annotations

from typing import Final

import streamlit as st

from pages.ui import compute_view, job_history, links, spec_view
from pages.ui.errors import error_boundary, guarded, notify
from pages.ui.format import (
    badge,
    compute_text,
    duration,
    elapsed,
    escape,
    is_waiting,
    metric_text,
    moment,
    score,
    step_text,
)
from pages.ui.job_ending import show_ending
from pages.ui.refresh import fragment, last_known, refresh_while
from pages.ui.session import login_or_none, runtime, timezone
from services.domain.access import User
from services.domain.errors import NotFound
from services.domain.job import Job, JobId, JobStatus
from training.spec import ForecastSpec

_CONFIRM: Final = "_confirm"  # (action, job id) while a confirmation is open
_REASON: Final = "confirm_reason"
MAX_REASON: Final = 200
_WHAT_CANCEL_DOES: Final = {  # by whether it was ever started
    True: "The run is stopped within seconds. What it has computed is kept; Retry starts it again.",
    False: "Nothing has been started, so nothing is lost. Retry starts it all the same.",
}
_TABS: Final = ("Timeline", "Configuration", "Log")


@fragment
def job_detail(user: User, job_id: JobId) -> None:
    """Everything about a job; refreshes by itself while the job is active."""
    with error_boundary("the job"):
        st.button("All jobs", key="job_list", icon=":material/arrow_back:", type="tertiary", on_click=_leave)
        try:
            job, updated_at, is_fresh = last_known("job", job_id, lambda: runtime().jobs.get(user, job_id))
        except NotFound as exc:
            no_such_job(user, exc)
            return
        _header(user, job)
        if job.can_start:
            compute_view.pending_machines(user, job)
        _actions(user, job)
        timeline, configuration, log = st.tabs(_TABS, key="job_tabs", on_change="rerun")
        if timeline.open:
            with timeline:
                job_history.timeline(user, job)
                job_history.attempts(job)
        if configuration.open:
            with configuration:
                _configuration(job)
        if log.open:
            with log:
                _log(user, job)
        refresh_while(job.is_active, key="job_refresh", updated_at=updated_at, is_fresh=is_fresh)


def no_such_job(user: User, exc: NotFound) -> None:
    """That there is no such job; to whom it belonged, who deleted it, and why."""
    deletion = runtime().jobs.deletion(user, JobId(exc.identifier))
    if deletion is None:
        st.error(escape(str(exc)), icon=":material/search_off:")
        return
    when = moment(deletion.at, timezone(), now=runtime().clock.now())
    who = "you" if deletion.actor == user.name else escape(deletion.actor)
    why = f": {escape(deletion.detail)}" if deletion.detail else "."
    st.info(f"This job was deleted by {who} ({when}){why}", icon=":material/delete:")


def confirm(user: User) -> None:
    """Open the confirmation that a button asked for.

    Call it from the page itself: in a fragment, each refresh would open it anew.
    """
    match st.session_state.get(_CONFIRM):
        case ("cancel", job_id):
            _confirm_cancel(user, job_id)
        case ("delete", job_id):
            _confirm_delete(user, job_id)


def _header(user: User, job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(escape(job.name), width="content")
        shown = badge(job)
        st.badge(shown.text, icon=shown.icon, color=shown.color)
    zone, now = timezone(), runtime().clock.now()
    facts = [f"Dataset: {escape(job.dataset_name)}", f"created {moment(job.created_at, zone, now=now)}"]
    if job.owner != user.name:
        facts.insert(0, f"Owner: **{escape(job.owner)}**")
    if job.attempt:
        begun = job.attempt.started_at
        if begun or job.attempt.run_id:  # before that it waits to be sent
            facts.append(f"{'started' if begun else 'sent'} {moment(begun or job.attempt.submitted_at, zone, now=now)}")
        verb = "waiting for" if is_waiting(job) else "running for" if job.is_active else "took"
        facts.append(f"{verb} {duration(elapsed(job, now))}")
    if len(job.attempts) > 1:
        facts.append(f"attempt {len(job.attempts)}")
    if job.attempt and job.attempt.compute:
        facts.append(escape(compute_text(job.attempt.compute)))
    st.caption(" · ".join(facts))
    match job.status:
        case JobStatus.PENDING:
            st.info("This job is ready. Look over its configuration below, then start it.", icon=":material/schedule:")
        case JobStatus.SUBMITTING | JobStatus.RUNNING | JobStatus.CANCELLING:
            percent = min(100, max(0, int(job.progress.percent)))
            st.progress(percent, text=f"{percent} % · {escape(step_text(job, now)) or 'Working'}")
            if job.next_attempt_at and job.next_attempt_at > now:
                st.caption(f"Tries again at {moment(job.next_attempt_at, zone, now=now)}")
        case JobStatus.FAILED | JobStatus.CANCELLED:
            show_ending(job)
            if job.status is JobStatus.CANCELLED and (said := job_history.cancelled_by_another(user, job)):
                why = f"Cancelled by {escape(said.actor)}: {escape(said.detail)}"
                st.warning(why, icon=":material/front_hand:")
        case JobStatus.COMPLETED if job.outcome:
            text = f"Best model: **{escape(job.outcome.best_model)}**"
            if job.outcome.score is not None:
                text += (
                    f", {metric_text(job.outcome.metric)} {score(job.outcome.score, job.outcome.metric)} in backtest"
                )
            st.success(text, icon=":material/check_circle:")
        case JobStatus.COMPLETED:
            pass
    if job.attempt:
        job_history.show_stages(job, job.attempt, now)


def _actions(user: User, job: Job) -> None:
    args = (user, job.job_id)
    with st.container(horizontal=True):
        st.button(
            "Start training", key="job_start", icon=":material/play_arrow:", on_click=_start, args=args,
            type="primary" if job.can_start else "secondary", disabled=not job.can_start,
        )  # fmt: skip
        if st.button(
            "View results", key="job_results", icon=":material/monitoring:",
            type="primary" if job.has_results else "secondary", disabled=not job.has_results,
        ):  # fmt: skip
            st.switch_page(links.RESULTS, query_params={"job": job.job_id})
        st.button(
            "Cancel", key="job_cancel", icon=":material/cancel:", disabled=not job.can_cancel,
            on_click=_ask, args=("cancel", job.job_id),
        )  # fmt: skip
        st.button(
            "Retry", key="job_retry", icon=":material/replay:", disabled=not job.can_retry, on_click=_retry, args=args,
            help="Run the same configuration again, as a new attempt of this job.",
        )  # fmt: skip
        st.button(
            "Clone", key="job_clone", icon=":material/content_copy:", on_click=_clone, args=args,
            help="Make a new job with the same data and configuration, not started yet.",
        )  # fmt: skip
        if job.attempt and job.attempt.page_url:
            st.link_button("Open in Databricks", job.attempt.page_url, key="job_page", icon=":material/open_in_new:")
        st.button(
            "Delete", key="job_delete", icon=":material/delete:", disabled=not job.can_delete,
            on_click=_ask, args=("delete", job.job_id),
        )  # fmt: skip


def _configuration(job: Job) -> None:
    spec = ForecastSpec.from_json(job.spec_json)
    st.table(spec_view.rows(spec), border="horizontal", width="content")
    st.download_button(
        "Download configuration", spec.to_json(), file_name="forecast-spec.json", mime="application/json",
        key="job_spec", icon=":material/download:", on_click="ignore",
    )  # fmt: skip
    with st.expander("As JSON", key="job_json"):
        st.code(spec.to_json(), language="json")


def _log(user: User, job: Job) -> None:
    text = runtime().jobs.log_tail(user, job.job_id, n_lines=200)
    if text:
        with st.container(height=420, autoscroll=True, border=False):
            st.code(text, language=None)
    else:
        st.caption("The run has printed nothing yet." if job.attempts else "The job has not been started.")


def _ask(action: str, job_id: JobId) -> None:
    st.session_state[_CONFIRM] = (action, job_id)
    st.rerun()


def _leave() -> None:
    del st.query_params["job"]
    st.rerun()


def _dismiss() -> None:
    st.session_state.pop(_CONFIRM, None)


@st.dialog("Cancel this job?", on_dismiss=_dismiss)
def _confirm_cancel(user: User, job_id: JobId) -> None:
    job = runtime().jobs.get(user, job_id)
    has_begun = job.attempt is not None
    st.write(_WHAT_CANCEL_DOES[has_begun])
    has_reason = _ask_for_reason(user, job)
    with st.container(horizontal=True):
        st.button(
            "Cancel the job", key="confirm_cancel", type="primary", on_click=_cancel, args=(user, job_id),
            disabled=not has_reason,
        )  # fmt: skip
        st.button("Keep it running" if has_begun else "Keep it", key="confirm_no", on_click=_dismiss_and_rerun)


@st.dialog("Delete this job?", on_dismiss=_dismiss)
def _confirm_delete(user: User, job_id: JobId) -> None:
    st.write("Its forecasts, scores and log are removed for good. The dataset stays.")
    has_reason = _ask_for_reason(user, runtime().jobs.get(user, job_id))
    with st.container(horizontal=True):
        st.button(
            "Delete the job", key="confirm_delete", type="primary", on_click=_delete, args=(user, job_id),
            disabled=not has_reason,
        )  # fmt: skip
        st.button("Keep it", key="confirm_no", on_click=_dismiss_and_rerun)


def _ask_for_reason(user: User, job: Job) -> bool:
    """Whether there is one, or none is needed: somebody else's job is not touched without."""
    if job.owner == user.name:
        return True
    reason = st.text_input(
        f"Reason, for {escape(job.owner)} to read", key=_REASON, max_chars=MAX_REASON, placeholder="Why, then Enter"
    )
    return bool(reason.strip())


def _dismiss_and_rerun() -> None:
    _dismiss()
    st.rerun()


@guarded("start")
def _start(user: User, job_id: JobId) -> None:
    runtime().jobs.start(user, job_id, login=login_or_none())


@guarded("retry")
def _retry(user: User, job_id: JobId) -> None:
    runtime().jobs.retry(user, job_id, login=login_or_none())


@guarded("clone")
def _clone(user: User, job_id: JobId) -> None:
    copy = runtime().jobs.clone(user, job_id)
    st.query_params["job"] = copy.job_id
    notify("Cloned. This is the copy; start it when you are ready.")


@guarded("cancel")
def _cancel(user: User, job_id: JobId) -> None:
    _dismiss()
    runtime().jobs.cancel(user, job_id, st.session_state.get(_REASON, ""))


@guarded("delete")
def _delete(user: User, job_id: JobId) -> None:
    _dismiss()
    runtime().jobs.delete(user, job_id, st.session_state.get(_REASON, ""))
    del st.query_params["job"]
    notify("The job is deleted.")
