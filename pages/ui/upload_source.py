"""Where data comes from: a file of the user's, or a shipped sample."""

from __future__ import annotations

from typing import Final

import streamlit as st

from pages.ui.format import escape
from pages.ui.session import runtime
from services.domain.access import User
from services.domain.errors import InvalidInput

_REFUSED: Final = "_upload_refused"  # (file id, message) of the file that is in the uploader and can't be used
_EXAMPLE: Final = {
    "month": ["2024-01-01", "2024-02-01", "2024-01-01"],
    "store": ["North", "North", "South"],
    "sales": ["1250.5", "1310.0", "980.25"],
}


def choose_file(user: User) -> None:
    """The uploader; a file that can be read becomes a draft at once."""
    st.subheader("Your own file")
    limit = runtime().settings.max_upload_mb
    file = st.file_uploader(
        "A table", key="upload_file", max_upload_size=limit,
        help="Separator, encoding, decimal sign and date format are worked out; you can change them.",
    )  # fmt: skip
    st.caption(f"CSV, Parquet or Excel (.xlsx), up to {limit:,} MB. A file shown in red is larger and was not sent.")
    if file is None:
        st.caption("One row for each series and date. More columns may explain the target: a price, a holiday, a plan.")
        st.table(_EXAMPLE, border="horizontal", hide_index=True)
        return
    refused = st.session_state.get(_REFUSED)
    if refused is None or refused[0] != file.file_id:
        try:
            with st.spinner("Storing and reading the file…"):
                dataset = runtime().datasets.receive(user, filename=file.name, stream=file)
        except InvalidInput as exc:  # kept, so that the next run does not store the same file again
            refused = st.session_state[_REFUSED] = (file.file_id, str(exc))
        else:
            _open(dataset.dataset_id)
    st.error(escape(refused[1]), icon=":material/error:")


def choose_sample(user: User) -> None:
    """The shipped samples, with their origin."""
    st.subheader("A sample")
    samples = {sample.key: sample for sample in runtime().datasets.samples()}
    key = st.radio(
        "Real, openly licensed data",
        list(samples),
        format_func=lambda key: samples[key].title,
        captions=[sample.description for sample in samples.values()],
        key="sample_dataset",
    )
    sample = samples[key]
    st.caption(
        f"Source: [{sample.origin}]({sample.source_url}). Licence: [{sample.licence}]({sample.licence_url}). "
        f"{sample.changes}"
    )
    if st.button("Use this sample", key="use_sample", icon=":material/science:"):
        _open(runtime().datasets.receive_sample(user, key).dataset_id)


def _open(dataset_id: str) -> None:
    """Go on with a dataset; its id in the address survives refreshes and restarts."""
    st.query_params["dataset"] = dataset_id
    st.rerun()
