"""The machines of a job: which ones, for how long and how much, and the choice of others."""

from __future__ import annotations

from typing import Final

import streamlit as st

from pages.ui.errors import guarded
from pages.ui.format import about, compute_text, count, escape, usd
from pages.ui.session import runtime
from services.domain.access import User
from services.domain.compute import ComputeMode, ComputePlan, Size
from services.domain.errors import NotFound
from services.domain.job import Job, JobId
from training.errors import ConfigError
from training.spec import ForecastSpec

AUTO: Final = "Auto"
_HELP: Final = (
    "How much of a cluster. Auto takes the smallest size that computes within about 20 minutes and has enough memory."
)


def size_chosen(key: str) -> Size | None:
    """What the choice under this key says; ``None`` leaves it to the app."""
    chosen = st.session_state.get(key) or AUTO
    return None if chosen == AUTO else Size(chosen)


def time_text(plan: ComputePlan) -> str:
    """How long the run takes, about."""
    return about(plan.minutes * 60)


def machines(plan: ComputePlan, *, with_time: bool = False) -> None:
    """What the run gets, for how much, and why; with how long it takes where nothing else on the page says so."""
    time = {"Estimated time": f"**{time_text(plan)}** from start to end, behind a queue if there is one"}
    st.table((time if with_time else {}) | plan_rows(plan), border="horizontal", width="content")
    st.caption(escape(plan.reason))


def plan_rows(plan: ComputePlan) -> dict[str, str]:
    """Label -> value (Markdown) of a plan's price and machines."""
    cost = {"Estimated cost": f"**{usd(plan.cost_usd)}** at list prices"}
    if plan.mode is not ComputeMode.JOB_CLUSTER:
        return cost | {"Runs on": compute_text(plan)}
    return cost | {
        "Size": str(plan.size),
        "Machine type": escape(plan.node_type) or "as the pool has them",
        "Machines": f"{plan.workers + 1}, a driver and {count(plan.workers, 'worker')}" if plan.workers else "1",
        "Availability": "workers spot, on demand where there is none; driver on demand"
        if plan.is_spot
        else "on demand"
        if plan.node_type
        else "as the pool has them",
        "Runtime": escape(plan.runtime),
    }


def pending_machines(user: User, job: Job) -> None:
    """The machines of a job that was not started, and the choice of others; nothing where it runs on this machine."""
    try:
        spec = ForecastSpec.from_json(job.spec_json)
        dataset = runtime().datasets.get(user, job.dataset_id)
    except (ConfigError, NotFound):
        return  # the start says what is wrong, and what to do
    offer = runtime().jobs.compute_offer(user, dataset, spec)
    if offer is None:
        return
    with st.container(border=True):
        if offer.by_size:
            key = f"job_size_{job.version}"  # another tab may have chosen since
            st.segmented_control(
                "Size of the machines", (AUTO, *Size), default=job.size or AUTO, required=True, key=key, help=_HELP,
                on_change=_choose, args=(user, job.job_id, key),
            )  # fmt: skip
        machines(offer.plan(job.size), with_time=True)


@guarded("size of the machines")
def _choose(user: User, job_id: JobId, key: str) -> None:
    runtime().jobs.choose_size(user, job_id, size_chosen(key))


def size_choice(key: str) -> Size | None:
    """The choice on a form, kept in the address so that a refresh does not lose it."""
    st.segmented_control(
        "Size of the machines", (AUTO, *(size.value for size in Size)), default=AUTO, required=True, key=key,
        help=_HELP, bind="query-params",
    )  # fmt: skip
    return size_chosen(key)
