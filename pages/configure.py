"""Decide what to forecast and how (``?dataset=``), look it over, and make a job of it."""

from __future__ import annotations

import uuid
from contextlib import suppress

import streamlit as st

from pages.ui import links, spec_form, spec_state
from pages.ui.errors import error_boundary
from pages.ui.format import count, escape
from pages.ui.session import current_user, runtime
from pages.ui.spec_calendar import length_in
from pages.ui.spec_check import MIN_TRAIN
from pages.ui.spec_review import FORM, review, take_file
from services.domain.access import User
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import NotFound
from services.domain.job import DatasetId, JobId
from training.frequency import Frequency
from training.quality import Profile
from training.spec import ColumnRoles, ForecastSpec, GapPolicy, Preset, preset_models


def choose(user: User) -> None:
    """Offer the datasets that are ready."""
    st.title("Configure")
    ready = [dataset for dataset in runtime().datasets.list(user) if dataset.status is DatasetStatus.READY]
    if not ready:
        st.info("There is no dataset to forecast yet.", icon=":material/table:")
        st.page_link(links.UPLOAD, label="Upload data", icon=":material/upload_file:")
        return
    by_id = {dataset.dataset_id: dataset for dataset in ready}
    chosen = st.selectbox("Dataset", list(by_id), format_func=lambda i: by_id[i].name, key="configure_dataset")
    st.caption(f"{count(by_id[chosen].series_count, 'series', 'series')}, {count(by_id[chosen].row_count, 'row')}")
    if st.button("Configure a forecast", key="configure_open", type="primary"):
        st.query_params["dataset"] = chosen
        st.rerun()


def defaults(dataset: Dataset, roles: ColumnRoles, profile: Profile) -> ForecastSpec:
    """What suits the data."""
    season_length = Frequency.parse(profile.suggested.freq).season_length
    return ForecastSpec(
        dataset_id=dataset.dataset_id,
        roles=roles,
        freq=profile.suggested.freq,
        horizon=profile.suggested.horizon,
        models=preset_models(Preset.BALANCED, season_length, intermittent=profile.is_intermittent),
        preset=Preset.BALANCED,
        n_windows=profile.suggested.n_windows,
        non_negative=profile.suggested.non_negative,
        gaps=GapPolicy.ZERO if profile.is_intermittent else GapPolicy.INTERPOLATE,
    )


def fill_form(dataset: Dataset, roles: ColumnRoles, profile: Profile) -> None:
    """Set the widgets from the saved draft or the defaults, when this form comes on screen."""
    form = st.session_state.get(FORM)
    if form and form["dataset"] == dataset.dataset_id and "horizon" in st.session_state:
        return
    spec = defaults(dataset, roles, profile)
    if dataset.draft_spec_json:
        spec = ForecastSpec.from_json(dataset.draft_spec_json)
    spec_state.put(st.session_state, spec, roles)
    st.session_state[FORM] = {"dataset": dataset.dataset_id, "request": uuid.uuid4().hex, "saved": spec.to_json()}


def most_windows(profile: Profile, frequency: Frequency) -> int:
    """Backtest windows of the horizon on screen that the median series is long enough for."""
    horizon = st.session_state.get("horizon") or 1
    spare = length_in(profile, frequency) - frequency.season_length - MIN_TRAIN
    return spare // horizon


def configure(user: User, dataset: Dataset) -> None:
    """The form beside its review."""
    roles = ColumnRoles.model_validate_json(dataset.roles_json)
    profile = Profile.model_validate_json(dataset.profile_json)
    fill_form(dataset, roles, profile)
    st.title("Configure")
    st.caption(
        f"{escape(dataset.name)} · {count(profile.n_series, 'series', 'series')}, {count(profile.n_rows, 'row')}"
        + (f" · {profile.freq_label}" if profile.freq else "")
    )
    frequency = Frequency.parse(st.session_state["frequency"])
    form, side = st.columns([3, 2], gap="large")
    with form, error_boundary("the form"):
        spec_form.basics(frequency, roles, profile, most_windows=most_windows(profile, frequency))
        with st.expander("Advanced", key="configure_advanced", icon=":material/settings:"):
            spec_form.advanced(frequency)
        with st.expander("Use a saved configuration", key="configure_saved", icon=":material/upload:"):
            st.file_uploader(
                "Configuration file", type="json", key="spec_upload", on_change=take_file, args=(roles,),
                help="A file from “Download configuration”, for a table with the same columns.",
            )  # fmt: skip
    with side, st.container(border=True), error_boundary("the review"):
        review(user, dataset, roles, profile)


def show(user: User, dataset_id: DatasetId) -> None:
    """The form of a dataset, or what it lacks."""
    try:
        dataset = runtime().datasets.get(user, dataset_id)
    except NotFound as exc:
        st.title("Configure")
        st.error(escape(str(exc)), icon=":material/search_off:")
        st.page_link(links.CONFIGURE, label="My datasets", icon=":material/tune:")
        return
    if dataset.status is DatasetStatus.READY:
        configure(user, dataset)
        return
    st.title("Configure")
    st.info(f"The columns of {escape(dataset.name)} are not confirmed yet.", icon=":material/draft:")
    st.page_link(links.UPLOAD, label="Finish the upload", query_params={"dataset": dataset_id})


def asked_for(user: User) -> DatasetId | None:
    """The dataset of the address, or that of its job: there the browser's way back from a new job leads."""
    if dataset := st.query_params.get("dataset"):
        return DatasetId(dataset)
    if job := st.query_params.get("job"):
        with suppress(NotFound):
            return runtime().jobs.get(user, JobId(job)).dataset_id
    return None


who = current_user()
if wanted := asked_for(who):
    show(who, wanted)
else:
    choose(who)
