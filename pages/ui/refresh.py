"""Refreshing a part of a page while something on it is moving, and only then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from datetime import datetime
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import streamlit as st
from streamlit_autorefresh import st_autorefresh

from pages.ui.format import moment
from pages.ui.session import as_of_now, runtime, timezone
from services.domain.errors import Unavailable

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 3
T = TypeVar("T")
P = ParamSpec("P")


def fragment(draw: Callable[P, None]) -> Callable[P, None]:
    """``st.fragment`` for a part that takes the user: each run of its own has the user as they are then.

    Streamlit keeps the arguments of the page's run, and with them rights that may have gone hours ago.
    """

    @st.fragment
    @wraps(draw)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        draw(*as_of_now(args), **kwargs)

    return run


def last_known(key: str, question: Hashable, read: Callable[[], T]) -> tuple[T, datetime, bool]:
    """What ``read`` returns now, or what it returned last when what it depends on does not answer.

    Args:
        key: of the place on the page; its last answer is kept for the session.
        question: what is asked for; an answer to another question is not shown instead.
        read: asks a service.

    Returns:
        The answer, when it was true (aware UTC), and whether it is fresh.

    Raises:
        Unavailable: there is no earlier answer to this question.
    """
    now = runtime().clock.now()
    slot = f"_last_{key}"
    try:
        answer = read()
    except Unavailable as exc:
        asked, kept, at = st.session_state.get(slot, (None, None, now))
        if asked != question:
            raise
        logger.warning("could not refresh %s: %s", key, exc)
        return kept, at, False
    st.session_state[slot] = (question, answer, now)
    return answer, now, True


def refresh_while(is_active: bool, *, key: str, updated_at: datetime, is_fresh: bool = True) -> None:
    """Say when this part was last updated, and run its fragment again soon while something is active.

    Call it last in a fragment: the timer is an invisible element that takes a little room. Inside a fragment
    it runs only that again, so dialogs stay open and selections are kept.

    Args:
        is_active: whether anything shown can change by itself.
        key: of the timer, unique on the page.
        updated_at: when what is shown was true.
        is_fresh: ``False`` when the last refresh failed and older data is shown.
    """
    shown = moment(updated_at, timezone(), now=runtime().clock.now())
    if not is_fresh:
        st.caption(f":orange[:material/sync_problem: Refreshing fails; this is the state as of {shown}.]")
    elif is_active:
        st.caption(f":material/sync: Updated {shown}, refreshes by itself")
    else:
        st.caption(f"Updated {shown}")
    if is_active or not is_fresh:
        st_autorefresh(interval=INTERVAL_S * 1000, key=key)
