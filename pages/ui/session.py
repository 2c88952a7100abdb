"""Who is looking, and the runtime they look through: the one place where pages learn either."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from services import bootstrap
from services.bootstrap import Runtime
from services.domain.access import User


def runtime() -> Runtime:
    """The runtime that the server's lifespan built."""
    return bootstrap.current()


def current_user() -> User:
    """The person in front of this browser.

    Raises:
        NotAllowed: inside Databricks Apps without the proxy's word.
    """
    return runtime().identity.user(st.context.headers)


def timezone() -> tzinfo:
    """The browser's time zone; UTC until the browser has told it."""
    name = st.context.timezone
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
