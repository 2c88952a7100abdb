"""Bring in a table of history, say what its columns are, and see what is to be known of it (``?dataset=``)."""

from __future__ import annotations

import streamlit as st

from pages.ui import links
from pages.ui.errors import error_boundary
from pages.ui.format import escape, moment, size
from pages.ui.session import current_login, current_user, runtime, timezone
from pages.ui.upload_form import columns_form, fill_form, reading_form, roles_on_screen
from pages.ui.upload_hint import without_dates
from pages.ui.upload_list import my_datasets
from pages.ui.upload_report import checked, data_preview, kept_report, preview_of, report
from pages.ui.upload_source import choose_file, choose_sample
from pages.ui.upload_table import large_tables, surveyed, table_card, table_view
from services.domain.access import User
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import InvalidInput, NotFound
from services.domain.job import DatasetId
from training.spec import ColumnRoles
from training.tables import ReadOptions

QUERY = "dataset"


def start(user: User) -> None:
    """Where data can come from, and what is here already."""
    st.title("Upload")
    st.caption("A table with a date, a number to forecast, and the columns that tell one series from another.")
    has_tables = runtime().tables is not None
    with st.grid(3 if has_tables else 2):
        with st.container(border=True, height="stretch"), error_boundary("the upload"):
            choose_file(user)
        with st.container(border=True, height="stretch"), error_boundary("the samples"):
            choose_sample(user)
        if has_tables:
            with st.container(border=True, height="stretch"), error_boundary("the tables"):
                table_card()
    with error_boundary("my datasets"):
        my_datasets(user)


def header(dataset: Dataset) -> None:
    """The dataset's name, and the way to another one."""
    st.title("Upload")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{escape(dataset.name)}** · {origin(dataset) or size(dataset.size_bytes)}", width="stretch")
        if st.button(
            "Another source" if dataset.origin else "Another file",
            key="upload_other",
            icon=":material/arrow_back:",
            type="tertiary",
        ):
            st.query_params.clear()
            st.rerun()
    if dataset.is_in_place:
        st.caption(
            ":material/database: The table stays where it is: all its series are counted, the report looks at some of "
            "them, and the run reads it on the cluster."
        )


def origin(dataset: Dataset) -> str:
    """When a table was read, and at which version; empty for a file."""
    read = dataset.origin
    if read is None:
        return ""
    when = moment(read.read_at, timezone(), now=runtime().clock.now())
    return f"read {when}" if read.version is None else f"read {when} at version {read.version.number}"


def draft(user: User, dataset: Dataset) -> None:
    """Columns and reading options on one side, what follows from them on the other."""
    service = runtime().datasets
    options, roles = service.options(dataset), service.roles(dataset)
    fill_form(user, dataset, options, roles)
    problem: InvalidInput | None = None
    try:
        preview = preview_of(user, dataset.dataset_id, options, roles.series if roles else ())
    except InvalidInput as exc:
        preview, problem = None, exc
    form, side = st.columns([2, 3], gap="large")
    with form, error_boundary("the columns"):
        if preview is not None:
            columns_form(user, dataset, preview)
        reading_form(user, dataset, options, is_open=problem is not None)
    with side, error_boundary("the report"):
        if problem is not None:
            st.subheader("Data quality")
            st.error(f"**This can't be read as a table yet.** {escape(str(problem))}", icon=":material/error:")
        elif (chosen := roles_on_screen()) is None:
            st.subheader("Data quality")
            if preview is not None and not st.session_state["time_col"] and (hint := without_dates(preview.head)):
                st.warning(escape(hint), icon=":material/event_busy:")
            st.info("Choose the time and the target column, and the report appears here.", icon=":material/table:")
        else:
            verdict(user, dataset, options, chosen)
    if preview is not None:
        with error_boundary("the preview"):
            data_preview(preview)


def verdict(user: User, dataset: Dataset, options: ReadOptions, roles: ColumnRoles) -> None:
    """The quality report, and the way on when nothing blocks it."""
    login = current_login() if dataset.is_in_place else None
    result = (
        checked(user, dataset.dataset_id, options, roles)
        if login is None
        else surveyed(user, dataset.dataset_id, options, roles, login)
    )
    report(result, roles)
    forward = st.button(
        "Continue to configure", key="upload_continue", type="primary", icon=":material/arrow_forward:",
        disabled=not result.is_usable, help=None if result.is_usable else "Mend what blocks a forecast first.",
    )  # fmt: skip
    if forward:
        with st.spinner("Keeping the data…"):
            if login is None:
                runtime().datasets.keep(user, dataset.dataset_id, options, roles)
            else:
                large_tables().keep(user, login, dataset.dataset_id, options, roles)
        st.switch_page(links.CONFIGURE, query_params={QUERY: dataset.dataset_id})


def ready(user: User, dataset: Dataset) -> None:
    """A kept dataset: its report, and what can be done with it."""
    kept_report(user, dataset)
    with st.container(horizontal=True):
        if st.button("Continue to configure", key="upload_continue", type="primary", icon=":material/arrow_forward:"):
            st.switch_page(links.CONFIGURE, query_params={QUERY: dataset.dataset_id})
        if st.button(
            "Change columns", key="upload_revise", icon=":material/edit:",
            help="Works on a copy of the file: this dataset and its jobs stay as they are.",
        ):  # fmt: skip
            copy = runtime().datasets.revise(user, dataset.dataset_id)
            st.query_params[QUERY] = copy.dataset_id
            st.rerun()


def show(user: User, dataset_id: DatasetId) -> None:
    """One dataset, draft or kept."""
    try:
        dataset = runtime().datasets.get(user, dataset_id)
    except NotFound as exc:
        st.title("Upload")
        st.error(escape(str(exc)), icon=":material/error:")
        st.page_link(links.UPLOAD, label="Upload something else", icon=":material/upload_file:")
        return
    header(dataset)
    if dataset.status is DatasetStatus.READY:
        ready(user, dataset)
    else:
        draft(user, dataset)


wanted, table = st.query_params.get(QUERY), st.query_params.get("table")
if wanted:
    show(current_user(), DatasetId(wanted))
elif table and runtime().tables is not None:
    table_view(current_user(), table)
else:
    start(current_user())
