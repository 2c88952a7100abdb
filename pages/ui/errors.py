"""The border where errors become messages: none leaves a page as a traceback or a blank screen."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

import streamlit as st

from pages.ui.format import escape
from pages.ui.session import as_of_now
from services.domain.errors import ForecastAppError, NotFound, Unavailable
from training.errors import TrainingError

logger = logging.getLogger(__name__)

_NOTICES: Final = "_notices"
_ICONS: Final = {"error": ":material/error:", "warning": ":material/warning:", "success": ":material/check_circle:"}


@contextmanager
def error_boundary(where: str) -> Iterator[None]:
    """Show whatever goes wrong inside as a message at this place of the page.

    Our own errors are written for the user and shown as they are. Anything else is a defect: its traceback
    goes to the log under an incident id, and the user gets the id.

    Args:
        where: for the log, the page or part of it.
    """
    try:
        yield
    except Exception as exc:  # noqa: BLE001  # the page border: explain() logs what is not ours
        st.error(explain(exc, where), icon=_ICONS["error"])


def explain(exc: Exception, where: str) -> str:
    """The message for the user, as Markdown; logs what is not one of our own errors."""
    match exc:
        case NotFound():
            return escape(str(exc))
        case Unavailable():
            logger.warning("%s: %s", where, exc, exc_info=exc)
            return f"{escape(str(exc))} Nothing is lost; try again in a moment."
        case ForecastAppError() | TrainingError():
            return escape(str(exc))
        case _:
            incident = secrets.token_hex(4)
            logger.error("%s: incident %s", where, incident, exc_info=exc)
            return (
                "Something went wrong on our side. What you saved is not affected. "
                f"Reload the page; if it happens again, tell an administrator the incident number `{incident}`."
            )


def guarded(where: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a widget callback whose errors are shown at the top of the page, which then runs as a whole.

    Callbacks run before the script, outside every boundary on the page. One that belongs to a fragment would
    otherwise rerun only that, and its message would be gone with the fragment's next refresh. A user among its
    arguments is the one who acts, with the rights they have now.
    """

    def decorate(callback: Callable[..., None]) -> Callable[..., None]:
        @wraps(callback)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                callback(*as_of_now(args), **kwargs)
            except Exception as exc:  # noqa: BLE001  # the page border, for callbacks
                notify(explain(exc, where), kind="error")
            st.rerun()

        return run

    return decorate


def notify(text: str, *, kind: str = "success") -> None:
    """Keep a message (Markdown) for the top of the next run; ``kind`` is error, warning or success."""
    st.session_state.setdefault(_NOTICES, []).append((kind, text))


def show_notices() -> None:
    """Show what callbacks had to say: errors stay on the page, good news passes by."""
    for kind, text in st.session_state.pop(_NOTICES, []):
        if kind == "success":
            st.toast(text, icon=_ICONS[kind])
        elif kind == "warning":
            st.warning(text, icon=_ICONS[kind])
        else:
            st.error(text, icon=_ICONS["error"])
