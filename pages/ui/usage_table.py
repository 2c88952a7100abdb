"""Who uses how much, for admins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import pandas as pd
import streamlit as st

from pages.ui.format import STATUS_TEXTS, duration
from services.domain.job import JobStatus
from services.ports import Usage


def usage_rows(usages: Sequence[Usage]) -> pd.DataFrame:
    """One row per owner, who computed longest first."""
    total = sum((usage.run_time for usage in usages), timedelta())
    by_time = sorted(usages, key=lambda usage: (-usage.run_time, -usage.n_jobs, usage.owner))
    return pd.DataFrame(
        {
            "Owner": usage.owner,
            "Active": usage.n_active,
            "Jobs": usage.n_jobs,
            "Completed": usage.counts[JobStatus.COMPLETED],
            "Failed": usage.counts[JobStatus.FAILED],
            "Run time": duration(usage.run_time),
            "Share": 100 * (usage.run_time / total) if total else 0.0,
        }
        for usage in by_time
    )


def usage_table(usages: Sequence[Usage], *, limit: int, overall: int) -> None:
    """Jobs and run time by owner.

    Args:
        usages: of the time chosen; active jobs among them.
        limit: active jobs that one person may have.
        overall: active jobs that all may have together.
    """
    st.dataframe(
        usage_rows(usages),
        hide_index=True,
        key="admin_usage",
        alt="Use by owner, the longest run time first",
        column_config={
            "Owner": st.column_config.TextColumn(width=260),
            "Active": st.column_config.ProgressColumn(
                f"Active (of {limit})", min_value=0, max_value=limit, format="%d", width=130
            ),
            "Share": st.column_config.ProgressColumn(
                "Share of run time", min_value=0, max_value=100, format="%d %%", width=160
            ),
        },
    )
    n_active = sum(usage.n_active for usage in usages)
    total = duration(sum((usage.run_time for usage in usages), timedelta()))
    st.caption(
        f"{n_active} of {overall} places for active jobs are taken, {total} of run time in all. Run time is that of "
        "every attempt, retries too; waiting does not count. Deleted jobs are left out."
    )


def status_counts(usages: Iterable[Usage]) -> None:
    """How many jobs have each status."""
    counts = [usage.counts for usage in usages]
    with st.grid(len(JobStatus), min_column_width=100):
        for status in JobStatus:
            st.metric(STATUS_TEXTS[status], sum(count[status] for count in counts), border=True)
