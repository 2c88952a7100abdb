"""The review beside the form: what will be run, what it takes, what does not fit, and the job made of it."""

from __future__ import annotations

import os
from typing import Any, Final

import pandas as pd
import streamlit as st
from pydantic import ValidationError

from pages.ui import compute_view, links, spec_state, spec_view
from pages.ui.errors import guarded, notify
from pages.ui.format import about, escape
from pages.ui.session import runtime
from pages.ui.spec_check import DataFacts, check, refusals, spans
from services.domain.access import User
from services.domain.dataset import Dataset
from services.domain.errors import InvalidInput
from training.quality import Profile
from training.spec import ColumnRoles, ForecastSpec
from training.workload import estimate

FORM: Final = "_configure"  # {"dataset": id, "request": id, "saved": JSON} of the form on screen
SIZE: Final = "compute_size"
MAX_SPEC_BYTES: Final = 1_000_000
# A kept panel changes only together with its profile; saving a draft changes neither.
_BY_PANEL: Final[dict[str | type, Any]] = {
    "services.domain.dataset.Dataset": lambda dataset: (dataset.dataset_id, dataset.profile_json)
}


def review(user: User, dataset: Dataset, roles: ColumnRoles, profile: Profile) -> None:
    """What will be run, what it takes, and what does not fit."""
    st.subheader("Review")
    try:
        spec = spec_state.get(st.session_state, dataset.dataset_id, roles)
    except ValidationError as exc:
        for problem in refusals(exc):
            st.error(f"This can't be run. {escape(problem)}", icon=":material/error:")
        _create_button(user, dataset, roles, is_ready=False)
        return
    _keep_draft(user, dataset, spec)
    first, last = _series_spans(dataset, user)
    facts = DataFacts(
        first=first, last=last, freq=profile.freq, future_rows=profile.future_rows, n_duplicates=profile.n_duplicates
    )
    problems = check(spec, facts)
    for problem in problems:
        show = st.error if problem.is_blocking else st.warning
        show(escape(problem.text), icon=":material/error:" if problem.is_blocking else ":material/warning:")
    work = estimate(spec, n_series=profile.n_series, n_rows=profile.n_rows, cores=os.cpu_count() or 1)
    offer = runtime().jobs.compute_offer(user, dataset, spec)
    plan = offer.plan(compute_view.size_choice(SIZE) if offer.by_size else None) if offer else None
    with st.grid(2, min_column_width=180):
        st.metric(
            "Model fits",
            f"{work.n_fits:,}",
            border=True,
            help="How often a model is fitted, backtest included.",
        )
        st.metric(
            "Estimated time",
            compute_view.time_text(plan) if plan else about(work.seconds),
            border=True,
            help="From the start of the machines to the end, behind a queue if there is one."
            if plan
            else "On this machine, once it is its turn.",
        )
    st.caption(spec_view.models_line(spec, None if plan else work))
    if plan:
        compute_view.machines(plan)
    st.text_input(
        "Name of the job", key="job_name", max_chars=200, persist_state="page",
        placeholder=f"{dataset.name}, next {spec.frequency.plural(spec.horizon)}",
    )  # fmt: skip
    _create_button(user, dataset, roles, is_ready=not any(problem.is_blocking for problem in problems))
    st.caption("Nothing runs until you press Start training on the next screen.")
    with st.expander("Everything in this configuration", key="configure_review"):
        st.table(spec_view.rows(spec), border="horizontal")
    st.download_button(
        "Download configuration", spec.to_json(), file_name="forecast-spec.json", mime="application/json",
        key="download_spec", icon=":material/download:", on_click="ignore",
    )  # fmt: skip


def _create_button(user: User, dataset: Dataset, roles: ColumnRoles, *, is_ready: bool) -> None:
    st.button(
        "Create job", key="create_job", type="primary", icon=":material/add:", width="stretch",
        disabled=not is_ready, on_click=_create, args=(user, dataset, roles),
    )  # fmt: skip


def _keep_draft(user: User, dataset: Dataset, spec: ForecastSpec) -> None:
    """Store a changed configuration with its dataset, so that a refresh loses nothing."""
    form, text = st.session_state[FORM], spec.to_json()
    if text != form["saved"]:
        runtime().datasets.save_draft(user, dataset.dataset_id, spec_json=text)
        form["saved"] = text


@st.cache_data(ttl="1h", max_entries=16, show_spinner="Reading the dataset", hash_funcs=_BY_PANEL)
def _series_spans(dataset: Dataset, _user: User) -> tuple[pd.Series, pd.Series]:
    """First and last observation of each series; having the dataset shows that the user may read it."""
    return spans(runtime().datasets.panel(_user, dataset.dataset_id))


@guarded("the configuration file")
def take_file(roles: ColumnRoles) -> None:
    """Fill the form from an uploaded configuration."""
    file = st.session_state["spec_upload"]
    if file is None:
        return
    if file.size > MAX_SPEC_BYTES:
        raise InvalidInput("This file is too large for a configuration.", remedy="Choose a file from this page.")
    spec_state.put(st.session_state, spec_state.adopt(ForecastSpec.from_json(file.getvalue()), roles), roles)
    notify("The form is filled from the file.")


@guarded("create job")
def _create(user: User, dataset: Dataset, roles: ColumnRoles) -> None:
    """Make the job, once per form and configuration however often it is pressed, and go to it."""
    spec = spec_state.get(st.session_state, dataset.dataset_id, roles)
    size = compute_view.size_chosen(SIZE)
    request_id = f"{st.session_state[FORM]['request']}-{spec.digest}-{size or ''}"
    name = st.session_state.get("job_name") or ""
    job = runtime().jobs.create(
        user, dataset_id=dataset.dataset_id, spec=spec, name=name, request_id=request_id, size=size
    )
    runtime().datasets.save_draft(user, dataset.dataset_id, spec_json="")
    st.session_state.pop(FORM)
    links.go(links.JOBS, job=job.job_id)
