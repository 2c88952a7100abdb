"""How a job ended, told apart: a headline, and what can be done about it."""

from __future__ import annotations

from typing import Final, NamedTuple

import streamlit as st

from pages.ui.format import escape
from services.domain.failure import OTHER_MACHINES, Cause
from services.domain.job import Attempt, Job, JobStatus


class Ending(NamedTuple):
    """What a user is told of a cause, beside the message of the attempt itself."""

    headline: str
    remedy: str
    icon: str


_RETRY: Final = "Press Retry: it goes on from the finished parts."
_IN_VAIN: Final = "Retrying this job as it is would end the same."
ENDINGS: Final[dict[Cause, Ending]] = {
    Cause.TRANSIENT: Ending(
        "A service was not available",
        f"{_RETRY} If it happens again, tell an administrator.",
        ":material/cloud_off:",
    ),
    Cause.LOST: Ending("The machine was lost", _RETRY, ":material/link_off:"),
    Cause.EVICTED: Ending(
        "Evicted from its machines", f"Something more urgent took them. {_RETRY}", ":material/logout:"
    ),
    Cause.SKIPPED: Ending(
        "Never started",
        "Nothing was computed, because too much was running already. Press Retry when there is less going on.",
        ":material/block:",
    ),
    Cause.PLATFORM: Ending(
        "The platform had an internal error",
        f"Your data and configuration are not at fault. {_RETRY} "
        "If it happens again, give an administrator the address of the run's page.",
        ":material/cloud_alert:",
    ),
    Cause.SPOT_LOSS: Ending("A spot machine was taken back", _RETRY, ":material/power_off:"),
    Cause.OUT_OF_MEMORY: Ending(
        "Out of memory",
        "Configure a new job with fewer series or models.",
        ":material/memory_alt:",
    ),
    Cause.TIME_LIMIT: Ending(
        "Time limit reached",
        f"{_RETRY} For less to compute, configure a new job with fewer models, backtest windows or series; whoever "
        "runs this app can raise the limit.",
        ":material/timer_off:",
    ),
    Cause.DATA: Ending(
        "Something in the data stands in the way",
        f"Mend the table, upload it again and make a new job. {_IN_VAIN}",
        ":material/table:",
    ),
    Cause.CONFIG: Ending(
        "The configuration can't be run",
        f"Configure the dataset anew; this configuration can be downloaded below. {_IN_VAIN}",
        ":material/tune:",
    ),
    Cause.MODEL: Ending(
        "No model produced a forecast",
        f"Configure other models; what each of them ran into is in the log. {_IN_VAIN}",
        ":material/query_stats:",
    ),
    Cause.CANCELLED: Ending(
        "Cancelled outside the app",
        f"Somebody ended its run; here nobody asked for that. {_RETRY}",
        ":material/front_hand:",
    ),
    Cause.PERMANENT: Ending(
        "Something is missing or not allowed",
        "Once somebody has changed that, press Retry.",
        ":material/lock:",
    ),
    Cause.INTERNAL: Ending(
        "The training broke off",
        "This may be a defect: the log says more. Tell an administrator.",
        ":material/bug_report:",
    ),
}
_OTHER_MACHINES: Final = {
    Cause.SPOT_LOSS: "Press Retry: it goes on from the finished parts, on machines that nobody takes back.",
    Cause.OUT_OF_MEMORY: "Press Retry: it goes on from the finished parts, on the next larger size.",
}


def ending(attempt: Attempt | None) -> Ending | None:
    """How an attempt ended; ``None`` while it has not, where it ended well, and where it was cancelled here."""
    if attempt is None or attempt.cause is None:
        return None
    told, cause = ENDINGS[attempt.cause], attempt.cause
    if cause in OTHER_MACHINES and attempt.compute is not None and attempt.compute.can_avoid(cause):
        return told._replace(remedy=_OTHER_MACHINES[cause])
    return told


def headline(job: Job) -> str:
    """Why a job that ended is where it is, for a line in a list; empty where its status says it all."""
    told = ending(job.attempt)
    if told is None:
        return job.error
    return f"{told.headline}. {job.error}".strip()


def show_ending(job: Job) -> None:
    """The end of a failed or cancelled job, with its reason and remedy."""
    told = ending(job.attempt)
    if told is None:
        if job.status is JobStatus.FAILED:
            st.error(escape(job.error) or "The run failed without a reason; see the log.", icon=":material/error:")
        return
    assert job.attempt is not None, "it has a cause"
    text = f"**{told.headline}**  \n{escape(job.attempt.message)}  \n{told.remedy}"
    (st.error if job.status is JobStatus.FAILED else st.warning)(text, icon=told.icon)
