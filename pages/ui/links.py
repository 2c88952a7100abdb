"""Where each page is, as ``st.page_link`` and ``st.switch_page`` want it: relative to the shell script."""

from __future__ import annotations

from typing import Final

import streamlit as st

HOME: Final = "../home.py"
UPLOAD: Final = "../upload.py"
CONFIGURE: Final = "../configure.py"
JOBS: Final = "../jobs.py"
RESULTS: Final = "../results.py"
ADMIN: Final = "../admin.py"

_GOING: Final = "_going"


def go(page: str, **query: str) -> None:
    """Go to a page from a widget's callback: the whole app runs again, and the shell follows.

    A callback runs before the navigation of its run is known, so it can't switch pages by itself.
    """
    st.session_state[_GOING] = (page, query)
    st.rerun()


def follow() -> None:
    """Switch to the page that a callback asked for, once the navigation is known."""
    if _GOING in st.session_state:
        page, query = st.session_state.pop(_GOING)
        st.switch_page(page, query_params=query)
