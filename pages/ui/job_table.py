"""The table of jobs that the Jobs, Home and Admin pages share; a click on a name opens the job."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Final

import pandas as pd
import streamlit as st

from pages.ui import links
from pages.ui.format import (
    QUEUED,
    STARTING,
    STATUS_BADGES,
    STATUS_TEXTS,
    Badge,
    ago,
    badge,
    compute_text,
    duration,
    elapsed,
    is_waiting,
    metric_text,
    score,
    step_text,
)
from pages.ui.job_ending import headline
from services.domain.job import Job, JobStatus

_BADGES: Final = (*STATUS_BADGES.values(), QUEUED, STARTING)

_OWN: Final = ["Job", "Status", "Progress", "Now", "Elapsed", "Best model", "Error", "Dataset", "Created"]
_OWNERS: Final = ["Job", "Owner", "Status", "Progress", "Elapsed", "Compute", "Now", "Dataset", "Created"]


def job_rows(jobs: Sequence[Job], now: datetime, *, with_owner: bool) -> pd.DataFrame:
    """One row per job, as shown; without the columns about progress when every job has completed.

    With owners it is about what they use, not about what they found.
    """
    rows = [
        {
            "Job": job.name,
            "Status": [_cell(badge(job))],
            "Progress": job.progress.percent,
            "Now": _now(job, now, "its owner" if with_owner else "you"),
            "Elapsed": f"{'waiting ' if is_waiting(job) else ''}{duration(elapsed(job, now))}",
            "Best model": job.outcome.best_model if job.outcome else "",
            "Error": f"{metric_text(job.outcome.metric)} {score(job.outcome.score, job.outcome.metric)}"
            if job.outcome
            else "",
            "Dataset": job.dataset_name,
            "Owner": job.owner,
            "Compute": compute_text(job.attempt.compute if job.attempt else None),
            "Created": ago(job.created_at, now),
        }
        for job in jobs
    ]
    columns = _OWNERS if with_owner else _OWN
    if all(job.has_results for job in jobs):
        columns = [column for column in columns if column not in {"Progress", "Now"}]
    if not any(row["Compute"] for row in rows):
        columns = [column for column in columns if column != "Compute"]
    return pd.DataFrame(rows, columns=columns)


def job_table(
    jobs: Sequence[Job], now: datetime, *, key: str, with_owner: bool = False, opens: str = links.JOBS
) -> None:
    """Show jobs; a click on a name opens that job.

    Args:
        jobs: in the order to show them.
        now: aware UTC; elapsed times count up to it.
        key: of the table, unique on the page.
        with_owner: whether to say whose they are.
        opens: the page a click goes to, which takes ``?job=``.
    """
    job_ids = [job.job_id for job in jobs]
    opened = f"{key}_open"

    def open_job() -> None:
        click = st.session_state[opened]
        links.go(opens, job=job_ids[click["row"]])

    st.dataframe(
        job_rows(jobs, now, with_owner=with_owner),
        hide_index=True,
        key=key,
        alt="Forecast jobs, newest first",
        column_config={
            "Job": st.column_config.ButtonColumn(
                "Job",
                on_click=open_job,
                key=opened,
                type="tertiary",
                alignment="left",
                width=220 if with_owner else 290,
            ),
            "Status": st.column_config.MultiselectColumn(
                "Status",
                options=[_cell(shown) for shown in _BADGES],
                color=[shown.color for shown in _BADGES],
                width=130,
            ),
            "Progress": st.column_config.ProgressColumn(
                "Progress", min_value=0, max_value=100, format="%d %%", width=110
            ),
            "Now": st.column_config.TextColumn("What is going on", width=190),
            "Owner": st.column_config.TextColumn("Owner", width=200),
            "Compute": st.column_config.TextColumn("Compute", width=200),
        },
    )


def _cell(shown: Badge) -> str:
    return f"{shown.glyph} {shown.text}"


def _now(job: Job, now: datetime, owner: str) -> str:
    if job.status is JobStatus.PENDING:
        return f"Waiting for {owner} to start it"
    return step_text(job, now) if job.is_active else headline(job)


def status_filter(key: str) -> list[JobStatus]:
    """Which statuses a list should hold; none chosen means all."""
    return st.pills(
        "Status", list(JobStatus), selection_mode="multi", format_func=STATUS_TEXTS.__getitem__, key=key, wrap=True
    )


def page_number(key: str, question: Hashable) -> int:
    """Of the page on screen; the first again once something else is asked for.

    Args:
        key: of the pager.
        question: what the list holds.
    """
    if st.session_state.get(f"_{key}_of", question) != question:
        st.session_state[key] = 1
    st.session_state[f"_{key}_of"] = question
    return int(st.session_state.get(key) or 1)


def pager(total: int, page_size: int, *, key: str) -> None:
    """Turn the pages of a list, where it has more than one; the page's number is the state under ``key``."""
    n_pages = -(-total // page_size)
    if n_pages > 1:
        st.pagination(n_pages, key=key)
