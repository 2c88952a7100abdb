"""How a job came to be as it is: its events, and its attempts with their machines, stages and ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import streamlit as st

from pages.ui.format import compute_text, duration, escape, moment
from pages.ui.job_ending import ending
from pages.ui.session import runtime, timezone
from services.domain.access import SYSTEM, User
from services.domain.failure import Cause
from services.domain.job import Attempt, EventKind, Job, JobEvent, JobStatus
from services.domain.stage import Stage

_EVENTS: Final[dict[EventKind, tuple[str, str]]] = {
    EventKind.CREATED: (":material/add_circle:", "Created"),
    EventKind.SIZE_CHOSEN: (":material/memory:", "Machines chosen"),
    EventKind.START_REQUESTED: (":material/play_circle:", "Start asked for"),
    EventKind.SUBMITTED: (":material/outbox:", "Sent"),
    EventKind.STARTED: (":material/play_arrow:", "Started"),
    EventKind.PROGRESS: (":material/trending_up:", "Progress"),
    EventKind.RETRY_SCHEDULED: (":material/autorenew:", "Retry scheduled by the app"),
    EventKind.RETRIED: (":material/replay:", "Retried"),
    EventKind.CANCEL_REQUESTED: (":material/cancel:", "Cancel asked for"),
    EventKind.CANCELLED: (":material/block:", "Cancelled"),
    EventKind.COMPLETED: (":material/check_circle:", "Completed"),
    EventKind.FAILED: (":material/error:", "Failed"),
    EventKind.DELETED: (":material/delete:", "Deleted"),
}
STAGE_TEXTS: Final = {
    Stage.QUEUED: "Queue",
    Stage.CLUSTER: "Cluster",
    Stage.LIBRARIES: "Libraries",
    Stage.TRAINING: "Training",
}

_CANCELS: Final = frozenset({EventKind.CANCEL_REQUESTED, EventKind.CANCELLED})
_WORTH_TELLING: Final = timedelta(seconds=1)


def stage_spans(attempt: Attempt, now: datetime) -> list[tuple[Stage, timedelta]]:
    """How long each stage took; the last one until the attempt ended, or until now."""
    reached = [(start.stage, start.began_at) for start in attempt.stages if start.began_at is not None]
    moments = [*(began_at for _, began_at in reached), attempt.ended_at or now]
    return [(stage, end - begin) for (stage, _), (begin, end) in zip(reached, itertools.pairwise(moments), strict=True)]


def show_stages(job: Job, attempt: Attempt, now: datetime) -> None:
    """What an attempt of the job has gone through, in a line; nothing where the executor has no such stages."""
    spans = [(stage, span) for stage, span in stage_spans(attempt, now) if span >= _WORTH_TELLING]
    if not spans:
        return
    last = "progress_activity"
    if attempt.ended_at:  # the stage it ended in is done only where the job is
        last = "check" if job.status is JobStatus.COMPLETED and attempt == job.attempt else "close"
    icons = ["check"] * (len(spans) - 1) + [last]
    st.caption(
        " → ".join(
            f":material/{icon}: {STAGE_TEXTS[stage]} {duration(span)}"
            for icon, (stage, span) in zip(icons, spans, strict=True)
        )
    )


def why_other_machines(before: Attempt | None, after: Attempt) -> str:
    """Why an attempt has other machines than the one before it; empty where it has the same."""
    if before is None or before.compute is None or after.compute is None:
        return ""
    if compute_text(before.compute) == compute_text(after.compute):
        return ""
    match before.cause:
        case Cause.OUT_OF_MEMORY:
            return f"a larger size, because {before.compute.size} ran out of memory"
        case Cause.SPOT_LOSS:
            return "on demand, because the cloud took a spot machine back"
        case _:
            return "other machines, because the settings of the app have changed"


def timeline(user: User, job: Job) -> None:
    """The job's events, newest first."""
    zone, now = timezone(), runtime().clock.now()
    with st.container(gap="xsmall"):
        for event in reversed(runtime().jobs.events(user, job.job_id)):
            icon, text = _EVENTS[event.kind]
            by = "" if event.actor == SYSTEM.name else f" by {escape(event.actor)}"
            number = f":gray-badge[Attempt {event.attempt}] " if len(job.attempts) > 1 and event.attempt else ""
            detail = f" · {escape(_detail(event, job.attempts))}" if _detail(event, job.attempts) else ""
            st.markdown(f"{icon} :gray[{moment(event.at, zone, now=now)}] {number}**{text}**{by}{detail}")


def _detail(event: JobEvent, attempts: Sequence[Attempt]) -> str:
    if event.kind is not EventKind.SUBMITTED or not 0 < event.attempt <= len(attempts):
        return event.detail
    sent = attempts[event.attempt - 1]
    return ": ".join(filter(None, (compute_text(sent.compute), why_other_machines(_before(sent, attempts), sent))))


def cancelled_by_another(user: User, job: Job) -> JobEvent | None:
    """Who cancelled the job's last attempt, and why, where that was not its owner."""
    for event in reversed(runtime().jobs.events(user, job.job_id)):
        if event.kind in _CANCELS and event.actor != SYSTEM.name and event.attempt == len(job.attempts):
            return None if event.actor == job.owner else event
    return None


def attempts(job: Job) -> None:
    """Each attempt of a job that has several: who began it, on what and why, what it went through, how it ended."""
    if len(job.attempts) < 2:
        return
    st.subheader("Attempts")
    now = runtime().clock.now()
    for attempt in reversed(job.attempts):
        with st.container(border=True, gap="xsmall", key=f"job_attempt_{attempt.number}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(_heading(attempt, now), width="stretch")
                if attempt.page_url:
                    st.link_button(
                        "Open in Databricks", attempt.page_url, type="tertiary", icon=":material/open_in_new:",
                        key=f"job_page_{attempt.number}",
                    )  # fmt: skip
            if attempt.compute:
                why = why_other_machines(_before(attempt, job.attempts), attempt)
                st.caption(escape(": ".join(filter(None, (compute_text(attempt.compute), why)))))
            show_stages(job, attempt, now)
            if told := ending(attempt):
                st.markdown(f"{told.icon} **{told.headline}** :gray[{escape(attempt.message)}]")


def _heading(attempt: Attempt, now: datetime) -> str:
    if attempt.is_automatic:
        who = ":violet-badge[:material/autorenew: by the app]"
    else:
        who = ":blue-badge[:material/person: by a person]"
    parts = [f"**Attempt {attempt.number}** {who}"]
    if attempt.submitted_at:
        parts.append(moment(attempt.submitted_at, timezone(), now=now))
        parts.append(f"took {duration((attempt.ended_at or now) - attempt.submitted_at)}")
    return " · ".join(parts) if attempt.ended_at else f"{parts[0]} · going on"


def _before(attempt: Attempt, attempts: Sequence[Attempt]) -> Attempt | None:
    return attempts[attempt.number - 2] if attempt.number > 1 else None
