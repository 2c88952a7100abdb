"""The user's datasets: open or delete them."""

from __future__ import annotations

from typing import Final

import streamlit as st

from pages.ui import links
from pages.ui.errors import guarded, notify
from pages.ui.format import ago, count, escape, size
from pages.ui.session import runtime
from services.domain.access import User
from services.domain.dataset import Dataset, DatasetStatus

_PAGE: Final = 20
_SHOWN: Final = "datasets_shown"


def my_datasets(user: User) -> None:
    """Newest first; nothing at all before the first upload."""
    n_shown: int = st.session_state.get(_SHOWN, _PAGE)
    datasets = runtime().datasets.list(user, limit=n_shown + 1)  # one more tells whether there are more
    if not datasets:
        return
    st.subheader("My datasets")
    for dataset in datasets[:n_shown]:
        _row(user, dataset)
    if len(datasets) > n_shown:
        st.button("Show more", key="more_datasets", icon=":material/expand_more:", on_click=_show_more, args=(n_shown,))


def _show_more(n_shown: int) -> None:
    st.session_state[_SHOWN] = n_shown + _PAGE


def _row(user: User, dataset: Dataset) -> None:
    is_ready = dataset.status is DatasetStatus.READY
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="stretch", gap=None):
            st.markdown(f":material/{'table' if is_ready else 'draft'}: **{escape(dataset.name)}**")
            st.caption(_facts(dataset))
        if st.button("Open", key=f"open_{dataset.dataset_id}", icon=":material/open_in_new:", type="tertiary"):
            st.query_params["dataset"] = dataset.dataset_id
            st.rerun()
        if is_ready:
            st.page_link(
                links.CONFIGURE, label="Configure", icon=":material/tune:", query_params={"dataset": dataset.dataset_id}
            )
        with st.popover("Delete", icon=":material/delete:", type="tertiary", key=f"delete_{dataset.dataset_id}"):
            st.write(
                f"Delete {escape(dataset.name)}? Results of its jobs stay, but jobs that have not finished can't run "
                "without it."
            )
            st.button(
                "Delete for good", key=f"delete_now_{dataset.dataset_id}", type="primary",
                on_click=_delete, args=(user, dataset),
            )  # fmt: skip


def _facts(dataset: Dataset) -> str:
    when = ago(dataset.created_at, runtime().clock.now())
    if dataset.status is DatasetStatus.READY:
        return f"{count(dataset.series_count, 'series', 'series')}, {count(dataset.row_count, 'row')} · {when}"
    return f"Columns not confirmed yet · {size(dataset.size_bytes)} · {when}"


@guarded("deleting a dataset")
def _delete(user: User, dataset: Dataset) -> None:
    runtime().datasets.delete(user, dataset.dataset_id)
    notify(f"Deleted {escape(dataset.name)}.")
