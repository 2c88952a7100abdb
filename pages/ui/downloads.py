"""Downloads of a finished job's forecasts, made when asked for."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

import streamlit as st

from services.results import ExportFormat, JobResults

_LABELS: Final = {
    ExportFormat.CSV: "Download CSV",
    ExportFormat.PARQUET: "Download Parquet",
    ExportFormat.EXCEL: "Download Excel",
}


def downloads(results: JobResults) -> None:
    """Buttons for the forecasts of every series under the user's column names."""
    st.subheader("Download the forecasts of all series")
    all_models = st.checkbox(
        "Every model, not only the selected one of each series", key="export_all_models", persist_state="session"
    )
    with st.container(horizontal=True):
        for file_format, label in _LABELS.items():
            st.download_button(
                label,
                partial(results.export_file, file_format, all_models=all_models),
                file_name=f"{_stem(results.job.name)}.{file_format}",
                mime=file_format.media_type,
                key=f"export_{file_format}",
                icon=":material/download:",
                on_click="ignore",
            )


def _stem(name: str) -> str:
    """A file name that every system takes."""
    words = re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-").lower()
    return f"forecast-{words[:60]}" if words else "forecast"
